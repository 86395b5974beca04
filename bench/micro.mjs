// Small calls from JavaScript: what a router pays around the kernel, and what searches do to the event loop. benchmark.js
// for calls that are too short to be timed one by one; own histograms for the others.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import Benchmark from 'benchmark';
import { ExpertIndex } from '../dist/index.js';
import { fillIndex, makeData } from './data.mjs';
import { describeMicro } from './describe.mjs';
import { Histogram } from './histogram.mjs';
import { COMMON, forceIsa, readOptions } from './options.mjs';
import { provenance, summary, writeJson } from './report.mjs';

const HELP = `npm run bench -- micro [options]

  --rows N        experts (1211)
  --dims N        dimensions (96)
  --calls N       calls of searchSync and search that are timed one by one (5000)
  --loop-rows N   experts of the index that is searched beside the event loop (200000, of 128 dimensions)
  --seconds S     for which the event loop is watched, idle and beside searches (2)
  --isa NAME      forces an instruction set: scalar, avx2, avx512, avx512vnni, neon, neondot
  --seed N        of the data (1)
  --json FILE     where the report goes (bench/results/local/micro.json)

Example: npm run bench -- micro --rows 100000`;

const OPTIONS = {
  rows: ['integer', '1211', 10, 2 ** 30],
  dims: ['integer', '96', 1, 4096],
  calls: ['integer', '5000', 10, 10_000_000],
  'loop-rows': ['integer', '200000', 1, 2 ** 30],
  seconds: ['number', '2', 0.01, 600],
  isa: COMMON.isa,
  seed: COMMON.seed,
  json: ['text', 'bench/results/local/micro.json'],
};

const K = 10;
const LOOP_DIMENSIONS = 128;

const nanoseconds = () => Number(process.hrtime.bigint());

export async function main(args) {
  const options = readOptions(args, OPTIONS);
  if (options.help) return console.log(HELP);
  forceIsa(options.isa);
  const data = await makeData({ ...options, kind: 'iid', dimensions: options.dims, queryCount: 1024 });
  const index = new ExpertIndex({ dimensions: data.dimensions });
  await fillIndex(index, data);

  const histograms = await latencies(index, data, options.calls);
  const results = [
    ...Object.entries(histograms).map(([name, histogram]) => ({
      name,
      microseconds: histogram.summary(1000),
      histogram: histogram.steps(), // [from nanoseconds, calls]
    })),
    ...shortCalls(index, data),
  ];
  const report = {
    benchmark: 'micro',
    ...provenance(),
    isa: index.stats().isa,
    rows: data.count,
    dimensions: data.dimensions,
    seed: options.seed,
    ...kernelTime(index, data, options.calls),
    eventLoop: await eventLoop(options),
    results,
  };
  index.close();
  writeJson(options.json, report);
  console.log(describeMicro(report));
  for (const [name, histogram] of Object.entries(histograms)) console.log(`\n${name}, microseconds:\n${histogram.draw({ unit: 1000 })}`);
}

/** Calls timed one by one, each with another query. */
async function latencies(index, { queries, dimensions }, calls) {
  const query = (i) => queries.subarray((i % 1024) * dimensions, ((i % 1024) + 1) * dimensions);
  const timed = async (body, pause) => {
    const histogram = new Histogram();
    const warm = Math.min(1000, calls);
    for (let i = 0; i < warm + calls; i++) {
      if (pause) await new Promise((resolve) => setTimeout(resolve, 1));
      const start = nanoseconds();
      const pending = body(query(i));
      if (pending instanceof Promise) await pending;
      if (i >= warm) histogram.record(nanoseconds() - start);
    }
    return histogram;
  };
  return {
    searchSync: await timed((q) => index.searchSync(q, { k: K }), false),
    'search, back to back': await timed((q) => index.search(q, { k: K }), false),
    'search, from a sleeping pool': await timed((q) => index.search(q, { k: K }), true),
  };
}

/**
 * What the engine's backend took for a query, as it measures itself, and what a searchSync took beyond it (checks, copies, the wall
 * between the languages, the result): call by call, medians.
 */
function kernelTime(index, { queries, dimensions }, calls) {
  const own = new Histogram();
  const beyond = new Histogram();
  const warm = Math.min(1000, calls);
  let before = index.stats().searchSeconds;
  for (let i = 0; i < warm + calls; i++) {
    const query = queries.subarray((i % 1024) * dimensions, ((i % 1024) + 1) * dimensions);
    const start = nanoseconds();
    index.searchSync(query, { k: K });
    const took = nanoseconds() - start;
    const after = index.stats().searchSeconds;
    const within = Math.round((after - before) * 1e9);
    before = after;
    if (i < warm) continue;
    own.record(within);
    beyond.record(took - within);
  }
  return { kernelMicroseconds: own.quantile(0.5) / 1000, beyondKernelMicroseconds: beyond.quantile(0.5) / 1000 };
}

/** Calls of a few hundred nanoseconds: benchmark.js runs each many times and divides. */
function shortCalls(index, { queries, dimensions, count }) {
  const query = queries.subarray(0, dimensions);
  const names = Array.from({ length: Math.ceil(count / 10) }, (_, i) => String(i));
  const few = names.slice(0, 10);
  const filter = index.filter(names);
  const result = index.searchSync(query, { k: K });
  const results = [];
  new Benchmark.Suite()
    .add('searchSync, a tenth eligible', () => index.searchSync(query, { k: K, filter }))
    .add('result.ids(0)', () => result.ids(0))
    .add('has', () => index.has('7'))
    .add('vector', () => index.vector('7'))
    .add('filter of 10 ids', () => index.filter(few))
    .on('cycle', ({ target }) => {
      if (target.error) throw target.error;
      results.push({ name: target.name, microseconds: summary(target.stats.sample.map((seconds) => seconds * 1e6)) });
    })
    .run();
  return results;
}

/** The delay of a timer of 1 ms, idle and while a chain of searches keeps one thread of the engine busy. */
async function eventLoop({ 'loop-rows': rows, seconds, seed }) {
  const data = await makeData({ kind: 'iid', rows, dimensions: LOOP_DIMENSIONS, queryCount: 64, seed });
  const index = new ExpertIndex({ dimensions: LOOP_DIMENSIONS, threads: 1 });
  await fillIndex(index, data);
  const watch = async (body) => {
    const monitor = monitorEventLoopDelay({ resolution: 1 });
    monitor.enable();
    const until = performance.now() + 1000 * seconds;
    let calls = 0;
    while (performance.now() < until) {
      await body();
      calls += 1;
    }
    monitor.disable();
    const milliseconds = (share) => monitor.percentile(share) / 1e6;
    return { median: milliseconds(50), p95: milliseconds(95), p99: milliseconds(99), max: monitor.max / 1e6, calls };
  };
  const idle = await watch(() => new Promise((resolve) => setTimeout(resolve, 50)));
  const searching = await watch(() => index.search(data.queries, { k: K }));
  index.close();
  return { rows, dimensions: LOOP_DIMENSIONS, threads: 1, idle, searching };
}
