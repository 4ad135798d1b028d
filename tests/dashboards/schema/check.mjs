// Has the TypeScript compiler check every dashboard as a literal of the type in board.ts: unknown and missing fields,
// wrong types and values outside an enum are errors. The compiler alone can see the types that Grafana publishes.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = dirname(fileURLToPath(import.meta.url));
const boards = resolve(here, '../../../dashboards/grafana');

const options = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  // The older resolution, which finds the types of single plugins; the package's `exports` names only some.
  moduleResolution: ts.ModuleResolutionKind.Node10,
  types: [],
};

const sources = new Map(
  readdirSync(boards)
    .filter((name) => name.endsWith('.json'))
    .map((name) => [join(here, `${name}.ts`), asSource(readFileSync(join(boards, name), 'utf8'))]),
);

function asSource(json) {
  return `import type { Board } from './board';\nexport const board: Board = ${json};\n`;
}

// The dashboards exist as sources only in the compiler's memory.
const host = ts.createCompilerHost(options);
const { fileExists, readFile } = host;
host.fileExists = (path) => sources.has(path) || fileExists(path);
host.readFile = (path) => sources.get(path) ?? readFile(path);
host.getSourceFile = (path, version) => ts.createSourceFile(path, host.readFile(path), version);

const program = ts.createProgram([...sources.keys()], options, host);
const errors = ts.getPreEmitDiagnostics(program);
if (errors.length > 0) {
  console.error(ts.formatDiagnosticsWithColorAndContext(errors, host));
  process.exit(1);
}
console.log(`${sources.size} dashboards are as @grafana/schema describes them`);
