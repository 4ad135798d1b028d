// A dashboard file as Grafana's published types describe it. They leave a panel's options and queries open, because
// every panel plugin has its own; here each kind of panel that the boards use is tied to the types of its plugin.

import type { DataQuery } from '@grafana/schema';
import type * as dashboard from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as stateTimeline from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as timeSeries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

// A file holds an enum's value, where TypeScript wants its name.
type Json<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

// The package doesn't have the Prometheus plugin's own query.
type PrometheusQuery = DataQuery & {
  expr: string;
  legendFormat: string;
  range?: boolean;
  instant?: boolean;
  editorMode?: 'code' | 'builder';
  format?: 'time_series' | 'table' | 'heatmap';
};

type PanelOf<Kind extends string, Options, FieldConfig> = Omit<
  dashboard.Panel,
  'type' | 'options' | 'fieldConfig' | 'targets'
> & {
  type: Kind;
  options: Options;
  fieldConfig: Omit<dashboard.FieldConfigSource, 'defaults'> & {
    defaults: Omit<dashboard.FieldConfig, 'custom'> & { custom?: Partial<FieldConfig> };
  };
  targets: PrometheusQuery[];
};

type Panel =
  | PanelOf<'timeseries', timeSeries.Options, timeSeries.FieldConfig>
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | PanelOf<'state-timeline', stateTimeline.Options, stateTimeline.FieldConfig>
  | PanelOf<'table', table.Options, table.FieldConfig>
  | (Omit<dashboard.RowPanel, 'type'> & { type: 'row' });

// Read by the Prometheus plugin.
type Annotation = dashboard.AnnotationQuery & { expr: string; step: string; titleFormat: string };

export type Board = Json<
  Omit<dashboard.Dashboard, 'panels' | 'annotations'> & { panels: Panel[]; annotations: { list: Annotation[] } }
>;
