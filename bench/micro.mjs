// Small calls from JavaScript: what a router pays around the kernel. benchmark.js for calls that return at once, own
// samples for those that settle a promise.
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { ExpertIndex } from '../dist/index.js';
import { makeData } from './data.mjs';
import { provenance, summary, table, writeJson } from './report.mjs';

const HELP = `npm run bench -- micro [options]

  --rows N     experts (1211)
  --dims N     dimensions (96)
  --json FILE  where the report goes (bench/results/local/micro.json)

Example: npm run bench -- micro --rows 100000`;

export async function main(args) {
  const { values } = parseArgs({
    args,
    options: {
      rows: { type: 'string', default: '1211' },
      dims: { type: 'string', default: '96' },
      json: { type: 'string', default: 'bench/results/local/micro.json' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(HELP);
  const data = makeData({ kind: 'iid', rows: Number(values.rows), dimensions: Number(values.dims), queryCount: 1, seed: 1 });
  const index = new ExpertIndex({ dimensions: data.dimensions });
  const ids = Array.from({ length: data.count }, (_, i) => `expert ${i}`);
  await index.upsert(ids, data.rows);
  const filter = index.filter(ids.slice(0, Math.ceil(data.count / 10)));
  const query = data.queries;
  const result = index.searchSync(query, { k: 10 });

  const rows = [];
  const results = [];
  const add = (name, microseconds) => {
    results.push({ name, microseconds });
    rows.push([name, ...['median', 'p95', 'p99'].map((q) => microseconds[q].toFixed(2))]);
  };
  const suite = new Benchmark.Suite();
  suite
    .add('searchSync, k = 10', () => index.searchSync(query, { k: 10 }))
    .add('searchSync, k = 10, a tenth eligible', () => index.searchSync(query, { k: 10, filter }))
    .add('result.ids(0)', () => result.ids(0))
    .add('has', () => index.has('expert 7'))
    .add('vector', () => index.vector('expert 7'))
    .add('filter of 10 ids', () => index.filter(ids.slice(0, 10)))
    .on('cycle', ({ target }) => add(target.name, summary(target.stats.sample.map((seconds) => seconds * 1e6))))
    .run();

  const timed = async (pause) => {
    const samples = [];
    for (let i = 0; i < 2000; i++) {
      if (pause) await new Promise((resolve) => setTimeout(resolve, 1));
      const start = process.hrtime.bigint();
      await index.search(query, { k: 10 });
      samples.push(Number(process.hrtime.bigint() - start) / 1000);
    }
    return summary(samples.slice(200));
  };
  add('search, one after another', await timed(false));
  add('search, from a sleeping pool', await timed(true));

  const report = { benchmark: 'micro', ...provenance(), rows: data.count, dimensions: data.dimensions, results };
  writeJson(values.json, report);
  console.log(`Microseconds a call: ${data.count.toLocaleString('en')} × ${data.dimensions}; commit ${report.commit}.\n`);
  console.log(table(['call', 'median', 'p95', 'p99'], rows));
}
