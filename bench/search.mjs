// Exact search over batch sizes: pointsman beside its peers, interleaved round by round in one run.
import { writeFileSync } from 'node:fs';
import { PEERS, startContenders } from './contenders.mjs';
import { makeData } from './data.mjs';
import { describeSearch } from './describe.mjs';
import { floorSeconds, highest, measureLimits } from './limits.mjs';
import { COMMON, COMMON_HELP, forceIsa, readOptions, UsageError } from './options.mjs';
import { plot } from './plot.mjs';
import { provenance, writeJson } from './report.mjs';
import { measure } from './rounds.mjs';

const HELP = `npm run bench -- search [options]

  --rows N        experts (1000000)
  --dims A,B,…    dimensions, a run for each (128)
  --batch A,B,…   queries of one call (1,4,16,64,256,1024)
  --k A,B,…       results of each query, a table for each (10)
  --data KIND     iid (uniform directions, norms spread), clustered (rank 32, out-of-distribution queries),
                  or a .npy or .fbin file, whose last rows are the queries
  --peers A,B,…   ${PEERS.join(', ')}; 'all', or 'none'
                  (all that are exact; faiss-ivf, which is approximate, too where the data are clustered)
  --rounds N      interleaved rounds, of which the medians are told (5)
  --seconds S     for which a contender is called in a round at least (0.25)
  --pass-bits N   bits a component that the limit's first pass over the rows reads (8)
${COMMON_HELP}
  --json FILE     where the report goes, with a plot (.svg) beside it (bench/results/local/search.json)

Peers: docs/benchmarks.md tells how to install them. Those that are absent are left out, and said so.

Example: npm run bench -- search --rows 100000 --batch 1,64 --k 10,100 --peers none`;

const OPTIONS = {
  rows: ['integer', '1000000', 1, 2 ** 30],
  dims: ['integers', '128', 1, 4096],
  batch: ['integers', '1,4,16,64,256,1024', 1, 2 ** 16],
  k: ['integers', '10', 1, 4096],
  data: ['text', 'iid'],
  peers: ['words', undefined],
  rounds: ['integer', '5', 1, 1000],
  seconds: ['number', '0.25', 0, 60],
  'pass-bits': ['number', '8', 0.1, 32],
  ...COMMON,
  json: ['text', 'bench/results/local/search.json'],
};

export async function main(args) {
  const options = readOptions(args, OPTIONS);
  if (options.help) return console.log(HELP);
  const synthetic = options.data === 'iid' || options.data === 'clustered';
  const peers = choosePeers(options);
  const say = (text) => console.error(text);
  forceIsa(options.isa);
  const facts = provenance();
  const threads = options.threads ?? facts.cores;

  const runs = [];
  let limits;
  let isa;
  // A file has its own dimensions.
  for (const wanted of synthetic ? options.dims : [undefined]) {
    say(synthetic ? `${options.rows} × ${wanted}: making the data …` : `reading ${options.data} …`);
    const queryCount = Math.max(1024, ...options.batch);
    const data = await makeData({ ...options, kind: options.data, dimensions: wanted, queryCount });
    const { dimensions, count } = data;
    say('building …');
    const list = await startContenders(data, { threads, peers, say });
    if (peers.length === 0) data.rows = undefined; // the index has its own
    try {
      isa = list[0].isa;
      const look = () => (options.limits === 'none' ? undefined : measureLimits({ threads, isa, say }));
      limits = highest(limits, look());
      const results = [];
      const tunings = [];
      for (const k of options.k) {
        const found = await measure(list, { ...options, batches: options.batch, k, queryCount, say });
        results.push(...found.results);
        tunings.push(...found.tunings);
      }
      limits = highest(limits, look());
      runs.push({
        dimensions,
        rows: count,
        contenders: list.map(({ name, version, setting, exact, buildSeconds, bytesPerRow, residentBytes }) => ({
          name,
          version,
          setting,
          exact,
          buildSeconds,
          buildRowsPerSecond: buildSeconds > 0 ? count / buildSeconds : null,
          bytesPerRow,
          residentBytes,
        })),
        tunings,
        results,
      });
    } finally {
      for (const contender of list) await contender.close();
    }
  }
  for (const run of limits ? runs : []) addShares(run, limits, options['pass-bits']);

  const report = {
    benchmark: 'search',
    ...facts,
    data: options.data,
    rows: runs[0].rows,
    threads,
    isa,
    rounds: options.rounds,
    seed: options.seed,
    passBits: options['pass-bits'],
    peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    limits,
    runs,
  };
  writeJson(options.json, report);
  const plots = writePlots(options.json, report);
  console.log(describeSearch(report, { details: true }));
  say(`\nwritten: ${[options.json, ...plots].join(', ')}`);
}

function choosePeers({ peers, data }) {
  const exact = PEERS.filter((peer) => peer !== 'faiss-ivf');
  if (peers === undefined) return data === 'clustered' ? PEERS : exact;
  if (peers.length === 1 && peers[0] === 'none') return [];
  if (peers.length === 1 && peers[0] === 'all') return PEERS;
  const unknown = peers.find((peer) => !PEERS.includes(peer));
  if (unknown !== undefined) throw new UsageError(`--peers: there is no '${unknown}'; ${PEERS.join(', ')}, all or none`);
  return peers;
}

// The share of the limit that every result reaches, by the highest rates of the whole run.
function addShares(run, limits, passBits) {
  const { rows, dimensions } = run;
  run.bytesReadPerRow = limits.int8OperationsPerSecond == null ? 4 * dimensions : Math.ceil((dimensions * passBits) / 8);
  for (const result of run.results) {
    const batch = result.queriesTimedPerCall;
    const floor = floorSeconds(limits, { rows, dimensions, batch, bytesPerRow: run.bytesReadPerRow });
    result.shareOfLimit = (floor * result.queriesPerSecond) / batch;
  }
}

/** A plot for each table, beside the report; their paths. */
function writePlots(json, report) {
  const base = json.replace(/\.json$/, '');
  const tables = report.runs.flatMap((run) => [...new Set(run.results.map((r) => r.k))].map((k) => ({ run, k })));
  return tables.map(({ run, k }) => {
    const path = tables.length === 1 ? `${base}.svg` : `${base}-d${run.dimensions}-k${k}.svg`;
    const results = run.results.filter((r) => r.k === k);
    const series = run.contenders.map(({ name }) => ({
      name,
      points: results.filter((r) => r.contender === name).map((r) => [r.batch, r.queriesPerSecond]),
    }));
    if (report.limits) {
      const points = series[0].points.map(([batch]) => {
        const floor = floorSeconds(report.limits, { rows: run.rows, dimensions: run.dimensions, batch, bytesPerRow: run.bytesReadPerRow });
        return [batch, batch / floor];
      });
      series.push({ name: 'limit of a full scan', dashed: true, points });
    }
    writeFileSync(
      path,
      plot({
        title: `Top-${k} search in ${run.rows.toLocaleString('en')} × ${run.dimensions} (${report.data})`,
        subtitle: `${report.threads} threads of ${report.cpu}, ${report.isa}; commit ${report.commit}, ${report.date}`,
        x: 'queries in a call',
        y: 'queries per second',
        series,
      }),
    );
    return path;
  });
}
