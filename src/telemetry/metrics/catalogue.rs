//! Making families: each is registered, described for the documentation, and cleaned of workers that left.
//!
//! The registry is this program's own, never the global one, so that two routers in one process don't share a counter.

use std::collections::{HashMap, HashSet};
use std::fmt;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

/// The label that names a worker. Series with it live as long as their worker.
const WORKER: &str = "worker";

/// What the documentation says about a family.
#[derive(Debug, Clone)]
pub struct Description {
    pub name: String,
    pub kind: &'static str,
    pub labels: Vec<String>,
    pub help: String,
}

/// Takes the series with these labels out of its family.
type Remover = Box<dyn Fn(&HashMap<&str, &str>) + Send + Sync>;

/// A registry that knows what it holds.
pub struct Catalogue {
    registry: Registry,
    descriptions: Vec<Description>,
    /// By the name of each family with a worker label.
    removers: HashMap<String, Remover>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue")
            .field("families", &self.descriptions.len())
            .finish_non_exhaustive()
    }
}

impl Catalogue {
    pub fn new() -> Self {
        Self {
            registry: Registry::new(),
            descriptions: Vec::new(),
            removers: HashMap::new(),
        }
    }

    pub fn counter(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let family = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid family");
        self.add("counter", &family, name, help, labels);
        family
    }

    pub fn gauge(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let family = IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid family");
        self.add("gauge", &family, name, help, labels);
        family
    }

    /// A gauge of a value that isn't whole.
    pub fn real_gauge(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let family = GaugeVec::new(Opts::new(name, help), labels).expect("a valid family");
        self.add("gauge", &family, name, help, labels);
        family
    }

    /// `buckets` are upper bounds, rising.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let family = HistogramVec::new(options, labels).expect("a valid family");
        self.add("histogram", &family, name, help, labels);
        family
    }

    /// The CPU time, memory and files of this process, under the names that every exporter gives them.
    #[cfg(target_os = "linux")]
    pub fn process(&mut self) {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        for desc in collector.desc() {
            let counted = desc.fq_name.ends_with("_total");
            self.descriptions.push(Description {
                name: desc.fq_name.clone(),
                kind: if counted { "counter" } else { "gauge" },
                labels: Vec::new(),
                help: desc.help.trim_end_matches('.').to_owned(),
            });
        }
        self.registry
            .register(Box::new(collector))
            .expect("registered once");
    }

    #[cfg(not(target_os = "linux"))]
    pub fn process(&mut self) {}

    /// In the order in which they were made.
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// Every family with a series, without the series of workers that are not in `workers`: those are forgotten.
    pub fn gather(&self, workers: &HashSet<&str>) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        for family in &mut families {
            if let Some(remove) = self.removers.get(family.name()) {
                forget_absent(family, workers, remove);
            }
        }
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    fn add<T>(
        &mut self,
        kind: &'static str,
        family: &MetricVec<T>,
        name: &str,
        help: &str,
        labels: &[&str],
    ) where
        T: MetricVecBuilder + 'static,
    {
        self.registry
            .register(Box::new(family.clone()))
            .expect("each family is registered once");
        self.descriptions.push(Description {
            name: name.to_owned(),
            kind,
            labels: labels.iter().map(ToString::to_string).collect(),
            help: help.to_owned(),
        });
        if labels.contains(&WORKER) {
            let family = family.clone();
            let remove: Remover = Box::new(move |labels| {
                // Gone already where somebody else looked at the same time.
                let _ = family.remove(labels);
            });
            self.removers.insert(name.to_owned(), remove);
        }
    }
}

fn forget_absent(family: &mut MetricFamily, workers: &HashSet<&str>, remove: &Remover) {
    family.mut_metric().retain(|metric| {
        let labels: HashMap<&str, &str> = metric
            .get_label()
            .iter()
            .map(|pair| (pair.name(), pair.value()))
            .collect();
        let present = labels
            .get(WORKER)
            .is_none_or(|worker| workers.contains(worker));
        if !present {
            remove(&labels);
        }
        present
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_worker_that_left_are_forgotten() {
        let mut catalogue = Catalogue::new();
        let family = catalogue.counter("x_total", "X", &["worker", "from"]);
        for worker in ["http://a", "http://b"] {
            family.with_label_values(&[worker, "closed"]).inc();
        }
        let series = |workers: &[&str]| {
            let families = catalogue.gather(&workers.iter().copied().collect());
            families.iter().map(|f| f.get_metric().len()).sum::<usize>()
        };
        assert_eq!(series(&["http://a", "http://b"]), 2);
        assert_eq!(series(&["http://a"]), 1);
        assert_eq!(series(&["http://a", "http://b"]), 1, "not only hidden");
        family.with_label_values(&["http://b", "closed"]).inc();
        assert_eq!(
            series(&["http://a", "http://b"]),
            2,
            "one that comes back begins anew"
        );
    }
}
