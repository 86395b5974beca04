// Reports as people read them: on the terminal, in the README and in docs/benchmarks.md.
import { short, table } from './report.mjs';

const percent = (x) => (x == null ? '–' : `${Math.round(100 * x)}%`);
const giga = (x) => (x == null ? 'none' : short(x / 1e9));
const count = (x) => x.toLocaleString('en');
const machine = (report) => `${report.threads} threads of ${report.cpu}${report.isa ? ` (${report.isa})` : ''}`;

/**
 * The search benchmark.
 * @param details also latencies, and a table for every k and dimension instead of the first alone
 */
export function describeSearch(report, { details = false } = {}) {
  const tables = report.runs.flatMap((run) => [...new Set(run.results.map((r) => r.k))].map((k) => ({ run, k })));
  const parts = (details ? tables : tables.slice(0, 1)).map(({ run, k }) => throughput(report, run, k, details));
  for (const run of report.runs) {
    if (new Set(run.results.map((r) => r.k)).size > 1) parts.push(overK(report, run));
  }
  if (report.runs.length > 1) parts.push(overDimensions(report));
  return parts.join('\n\n');
}

function throughput(report, run, k, details) {
  const results = run.results.filter((r) => r.k === k);
  const batches = [...new Set(results.map((r) => r.batch))];
  const of = (name, batch) => results.find((r) => r.contender === name && r.batch === batch);
  const [first, ...peers] = run.contenders;
  const rows = run.contenders.map(({ name }) => [name, ...batches.map((batch) => short(of(name, batch).queriesPerSecond))]);
  const ratio = (title, names) => {
    if (names.length === 0) return;
    const best = (batch) => Math.max(...names.map((name) => of(name, batch).queriesPerSecond));
    rows.push([title, ...batches.map((batch) => `${short(of(first.name, batch).queriesPerSecond / best(batch))}×`)]);
  };
  ratio(
    'ratio to the best exact peer',
    peers.filter((c) => c.exact).map((c) => c.name),
  );
  for (const peer of peers.filter((c) => !c.exact)) ratio(`ratio to ${peer.name}`, [peer.name]);
  if (report.limits) rows.push(['share of the limit', ...batches.map((batch) => percent(of(first.name, batch).shareOfLimit))]);
  if (details) {
    for (const [key, title] of Object.entries({ median: 'median', p95: '95%', p99: '99%' })) {
      rows.push([`ms a call of ${first.name}, ${title}`, ...batches.map((batch) => short(of(first.name, batch).callMilliseconds[key]))]);
    }
  }
  const agreed = Math.min(...results.filter((r) => run.contenders.find((c) => c.name === r.contender).exact).map((r) => r.recall));
  return [
    `Queries per second: ${count(report.rows)} × ${run.dimensions} (${report.data}), k = ${k}, ${machine(report)}; medians of ${report.rounds} interleaved rounds; commit ${report.commit}.`,
    '',
    table(['batch', ...batches.map(String)], rows),
    '',
    ...run.contenders.map((c) => `- ${c.name} ${c.version}: ${c.setting}${built(report, c)}${tuning(run, c, k)}`),
    ...(report.limits ? [`- ${limitsLine(report, run)}`] : []),
    `- the exact ones agree on ${(100 * agreed).toFixed(2)}% of the results or more`,
  ].join('\n');
}

function built(report, { buildSeconds, bytesPerRow }) {
  if (!(buildSeconds > 0)) return '';
  const memory = bytesPerRow ? `, ${Math.round(bytesPerRow)} bytes a row` : '';
  return `; built in ${short(buildSeconds)} s (${short(report.rows / buildSeconds / 1000)} thousand rows a second)${memory}`;
}

function tuning(run, { name }, k) {
  const found = run.tunings?.find((t) => t.contender === name && t.k === k);
  return found
    ? `; tuned on the run's own queries: nprobe ${found.nprobe}, k_factor ${found.kFactor}, recall ${found.recall.toFixed(3)}`
    : '';
}

function limitsLine({ limits, passBits }, run) {
  const eight = limits.int8OperationsPerSecond != null;
  const instruction = limits.int8Instruction ? ` by ${limits.int8Instruction}` : '';
  const upper = limits.int8UpperOperationsPerSecond
    ? `, ${giga(limits.int8UpperOperationsPerSecond)} by ${limits.int8UpperInstruction}`
    : '';
  return (
    `the limit: every row once at ${eight ? passBits : 32} bits a component (${run.bytesReadPerRow} bytes a row), at the rates measured in the same run: ` +
    `${giga(limits.readBytesPerSecond)} GB/s read, ${giga(limits.int8OperationsPerSecond)} GOP/s 8-bit${instruction}${upper}, ` +
    `${giga(limits.float32OperationsPerSecond)} GFLOP/s float32${limits.bf16OperationsPerSecond ? `, ${giga(limits.bf16OperationsPerSecond)} GFLOP/s bf16` : ''}; ` +
    'above 100% where rows are skipped'
  );
}

function overK(report, run) {
  const { name } = run.contenders[0];
  const own = run.results.filter((r) => r.contender === name);
  const batches = [...new Set(own.map((r) => r.batch))];
  const ks = [...new Set(own.map((r) => r.k))];
  const rate = (k, batch) => own.find((r) => r.k === k && r.batch === batch).queriesPerSecond;
  return [
    `Over k: queries per second of ${name}, and their share of those at k = ${ks[0]}; ${count(report.rows)} × ${run.dimensions} (${report.data}).`,
    '',
    table(
      ['k', ...batches.map((b) => `batch ${b}`)],
      ks.map((k) => [k, ...batches.map((b) => `${short(rate(k, b))} (${percent(rate(k, b) / rate(ks[0], b))})`)]),
    ),
  ].join('\n');
}

function overDimensions(report) {
  const { name } = report.runs[0].contenders[0];
  const { k } = report.runs[0].results[0];
  const batches = [...new Set(report.runs[0].results.map((r) => r.batch))];
  const cell = (run, batch) => {
    const found = run.results.find((r) => r.contender === name && r.k === k && r.batch === batch);
    return `${short(found.queriesPerSecond)}${report.limits ? ` (${percent(found.shareOfLimit)})` : ''}`;
  };
  return [
    `Over dimensions: queries per second of ${name}, and their share of the limit; ${count(report.rows)} rows (${report.data}), k = ${k}.`,
    '',
    table(
      ['dimensions', ...batches.map((b) => `batch ${b}`)],
      report.runs.map((run) => [run.dimensions, ...batches.map((b) => cell(run, b))]),
    ),
  ].join('\n');
}

/** The benchmark of small calls. */
export function describeMicro(report) {
  const rows = report.results.map(({ name, microseconds: m }) => [name, ...[m.median, m.p95, m.p99].map((x) => x.toFixed(2))]);
  const lines = [
    `Microseconds a call: ${count(report.rows)} × ${report.dimensions}, one query, k = 10; ${report.cpu}; commit ${report.commit}.`,
    '',
    table(['call', 'median', '95%', '99%'], rows),
  ];
  if (report.kernelMicroseconds) {
    lines.push(
      '',
      `- of a searchSync of one query, ${report.kernelMicroseconds.toFixed(2)} µs are the kernel's own (by the engine's clock, around the search itself), ${report.beyondKernelMicroseconds.toFixed(2)} µs all the rest; medians`,
    );
  }
  if (report.eventLoop) {
    const { idle, searching, rows: n, dimensions } = report.eventLoop;
    lines.push(
      `- event-loop delay, 99%: ${idle.p99.toFixed(2)} ms idle, ${searching.p99.toFixed(2)} ms while one thread searches ${count(n)} × ${dimensions} flat out (timer of 1 ms)`,
    );
  }
  return lines.join('\n');
}

/** The benchmark of building. */
export function describeBuild(report) {
  const { limits, results } = report;
  const rows = results.map(({ name, seconds, floorSeconds, rowsPerSecond }) => [
    name,
    short(seconds.median),
    rowsPerSecond ? short(rowsPerSecond / 1000) : '–',
    floorSeconds ? short(floorSeconds) : '–',
    floorSeconds ? percent(floorSeconds / seconds.median) : '–',
  ]);
  return [
    `Building: ${count(report.rows)} × ${report.dimensions} (${report.data}), ${machine(report)}; medians of ${report.rounds} rounds; commit ${report.commit}.`,
    '',
    table(['stage', 'seconds', 'thousand rows/s', 'at least', 'share'], rows),
    '',
    `- ${Math.round(report.bytesPerRow)} bytes a row in memory, ${Math.round(report.fileBytesPerRow)} in the file; resident set +${short(report.residentBytes / 1e9)} GB`,
    ...(limits
      ? [
          `- at least, by what was measured in the same run, on ${report.threads} threads: ${giga(limits.freshBytesPerSecond)} GB/s copied into memory that was not used before (upsert: the index, and the copy of a call's rows), ${giga(limits.readBytesPerSecond)} GB/s read (open: what is verified)`,
        ]
      : []),
    '- save: beside as many bytes written and synced in the same folder',
  ].join('\n');
}

/** The benchmark of encoders. */
export function describeEncode(report) {
  const { results, threads, rows, dimensions, batch, k } = report;
  const lengths = [...new Set(results.map(({ words }) => words))];
  const names = [...new Set(results.map(({ name }) => name))];
  const line = (title, name, value) => [
    title,
    ...lengths.map((words) => {
      const found = results.find((each) => each.name === name && each.words === words);
      return found ? short(value(found)) : '–';
    }),
  ];
  const searches = results.map((each) => each.searches.median);
  return [
    `Conversations per second: batches of ${batch}, ${threads} threads of ${report.cpu} (${report.isa}); medians; commit ${report.commit}. ${report.synthetic ? 'Synthetic' : "The user's"} text.`,
    '',
    table(
      ['encoder', ...lengths.map((words) => `${count(words)} words`)],
      names.flatMap((name) => [
        line(name, name, ({ perSecond }) => perSecond.median),
        line('… for each core', name, (each) => each.perSecondAndCore),
        line('… MB of text a second and core', name, (each) => each.bytesPerSecondAndCore / 1e6),
        line('… times the search', name, timesTheSearch),
      ]),
    ),
    '',
    `- the search that follows, by turns with each: k = ${k} of ${count(rows)} × ${dimensions} (iid), ${short(Math.min(...searches))} to ${short(Math.max(...searches))} queries a second in batches of ${batch}`,
    ...names.map((name) => `- ${name}: ${fallsBehind(results.filter((each) => each.name === name))}`),
  ].join('\n');
}

const timesTheSearch = ({ perSecond, searches }) => perSecond.median / searches.median;

/** Between two lengths the ratio is taken as a power of the length. */
function fallsBehind(own) {
  const last = own.at(-1);
  const i = own.findIndex((each) => timesTheSearch(each) < 1);
  if (i < 0) return `ahead of the search at all lengths up to ${count(last.words)} words`;
  if (i === 0) return `behind the search from ${count(own[0].words)} words on, or fewer`;
  const [a, b] = [own[i - 1], own[i]];
  const share = Math.log(timesTheSearch(a)) / Math.log(timesTheSearch(a) / timesTheSearch(b));
  return `behind the search from about ${short(Number((a.words * (b.words / a.words) ** share).toPrecision(2)))} words on`;
}
