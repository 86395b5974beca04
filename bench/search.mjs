// Exact search over batch sizes: pointsman beside its peers, interleaved round by round in one process.
import { parseArgs } from 'node:util';
import { contenders } from './contenders.mjs';
import { makeData } from './data.mjs';
import { floorSeconds, highest, measureLimits } from './limits.mjs';
import { provenance, short, summary, table, writeJson } from './report.mjs';

const HELP = `npm run bench -- search [options]

  --rows N        experts (1000000)
  --dims N        dimensions (128)
  --batch A,B,…   queries of one call (1,16,64,256,1024)
  --k N           results of each query (10)
  --threads N     threads of each contender that has threads (all)
  --data KIND     iid (uniform directions, norms spread), clustered (rank 32, out-of-distribution queries),
                  or a .npy or .fbin file, whose last rows are the queries
  --peers A,B     usearch, hnswlib (both; 'none' for none); installed by npm ci --prefix bench/peers
  --rounds N      interleaved rounds, of which the medians are told (5)
  --seed N        (1)
  --json FILE     where the report goes (bench/results/local/search.json)

Example: npm run bench -- search --rows 100000 --batch 1,64 --peers none`;

export async function main(args) {
  const { values } = parseArgs({
    args,
    options: {
      rows: { type: 'string', default: '1000000' },
      dims: { type: 'string', default: '128' },
      batch: { type: 'string', default: '1,16,64,256,1024' },
      k: { type: 'string', default: '10' },
      threads: { type: 'string' },
      data: { type: 'string', default: 'iid' },
      peers: { type: 'string', default: 'usearch,hnswlib' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      json: { type: 'string', default: 'bench/results/local/search.json' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(HELP);
  const facts = provenance();
  const batches = values.batch.split(',').map(Number);
  const k = Number(values.k);
  const rounds = Number(values.rounds);
  const threads = Number(values.threads ?? facts.cores);
  const peers = values.peers === 'none' ? [] : values.peers.split(',');

  const say = (text) => console.error(text);
  say('making the data …');
  const data = makeData({
    kind: values.data,
    rows: Number(values.rows),
    dimensions: Number(values.dims),
    queryCount: Math.max(...batches),
    seed: Number(values.seed),
  });
  let limits = measureLimits(threads);
  say('building …');
  const list = await contenders(data, { threads, peers });

  const results = [];
  for (const batch of batches) {
    const times = list.map(() => []);
    let reference;
    const recall = list.map(() => 1);
    for (let round = 0; round <= rounds; round++) {
      for (const [i, contender] of list.entries()) {
        // Peers whose time is linear in the queries answer a part of the batch; the figure is per query.
        const count = Math.min(batch, contender.most ?? batch);
        const queries = data.queries.subarray(0, count * data.dimensions);
        // Small batches are quick: as many calls as fit a quarter of a second, from one.
        const until = performance.now() + 250;
        const own = [];
        let found;
        do {
          const start = performance.now();
          found = await contender.search(queries, count, k);
          own.push((performance.now() - start) / count);
        } while (performance.now() < until);
        if (round === 0) {
          // The first round warms up, and compares what was found.
          reference ??= found;
          recall[i] = overlap(reference, found, count, k);
        } else {
          times[i].push(...own);
        }
      }
      say(`batch ${batch}: round ${round} of ${rounds}`);
    }
    for (const [i, contender] of list.entries()) {
      const perQuery = summary(times[i]);
      const timed = Math.min(batch, contender.most ?? batch);
      results.push({
        contender: contender.name,
        batch,
        queriesTimedPerCall: timed,
        queriesPerSecond: 1000 / perQuery.median,
        callMilliseconds: {
          median: perQuery.median * timed,
          p95: perQuery.p95 * timed,
          p99: perQuery.p99 * timed,
          samples: perQuery.samples,
        },
        recall: recall[i],
      });
    }
  }

  limits = highest(limits, measureLimits(threads));
  for (const result of limits ? results : []) {
    const floor = floorSeconds(limits, { rows: data.count, dimensions: data.dimensions, batch: result.queriesTimedPerCall });
    result.shareOfLimit = floor / (result.callMilliseconds.median / 1000);
  }

  const report = {
    benchmark: 'search',
    ...facts,
    data: values.data,
    rows: data.count,
    dimensions: data.dimensions,
    k,
    threads,
    rounds,
    seed: Number(values.seed),
    limits,
    contenders: list.map(({ name, version, setting, buildSeconds, bytesPerRow }) => ({
      name,
      version,
      setting,
      buildSeconds,
      bytesPerRow,
    })),
    results,
  };
  writeJson(values.json, report);
  console.log(describe(report));
}

/** The share of `reference`'s ids that `found` has, over the queries of `found`. */
function overlap(reference, found, count, k) {
  let hits = 0;
  for (let q = 0; q < count; q++) {
    const wanted = new Set(reference.subarray(q * k, (q + 1) * k));
    for (const id of found.subarray(q * k, (q + 1) * k)) hits += wanted.has(id) ? 1 : 0;
  }
  return hits / (count * k);
}

function limitsLine(limits) {
  const { readBytesPerSecond: read, float32OperationsPerSecond: fp32, int8OperationsPerSecond: int8 } = limits;
  const giga = (x) => (x === null ? 'none' : `${short(x / 1e9)}`);
  return `the limit: every row once as 8-bit codes, at the rates measured in the same run (${giga(read)} GB/s read, ${giga(int8)} GOP/s 8-bit, ${giga(fp32)} GFLOP/s float32); above 100% where rows are skipped`;
}

/** The report as people read it; also what the README shows. */
export function describe(report) {
  const batches = [...new Set(report.results.map((r) => r.batch))];
  const of = (name, batch) => report.results.find((r) => r.contender === name && r.batch === batch);
  const names = report.contenders.map((c) => c.name);
  const rows = names.map((name) => [name, ...batches.map((batch) => short(of(name, batch).queriesPerSecond))]);
  if (names.length > 1) {
    const best = (batch) => Math.max(...names.slice(1).map((name) => of(name, batch).queriesPerSecond));
    rows.push(['ratio to the best peer', ...batches.map((batch) => `${short(of(names[0], batch).queriesPerSecond / best(batch))}×`)]);
  }
  if (report.limits) {
    const share = (batch) => of(names[0], batch).shareOfLimit;
    rows.push(['share of the limit', ...batches.map((batch) => `${Math.round(100 * share(batch))}%`)]);
  }
  const agreed = Math.min(...report.results.map((r) => r.recall));
  return [
    `Queries per second: ${report.rows.toLocaleString('en')} × ${report.dimensions} (${report.data}), k = ${report.k}, ${report.threads} threads of ${report.cpu}; medians of ${report.rounds} interleaved rounds; commit ${report.commit}.`,
    '',
    table(['batch', ...batches.map(String)], rows),
    '',
    ...report.contenders.map((c) => `- ${c.name} ${c.version}: ${c.setting}`),
    ...(report.limits ? [`- ${limitsLine(report.limits)}`] : []),
    `- the contenders agree on ${(100 * agreed).toFixed(2)}% of the results or more`,
  ].join('\n');
}
