// Building an index, saving it and opening it again, beside what moving the bytes takes at least.
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExpertIndex } from '../dist/index.js';
import { fillIndex, makeData, numbers } from './data.mjs';
import { describeBuild } from './describe.mjs';
import { Histogram } from './histogram.mjs';
import { highest, measureLimits } from './limits.mjs';
import { COMMON, COMMON_HELP, forceIsa, readOptions } from './options.mjs';
import { provenance, writeJson } from './report.mjs';

const HELP = `npm run bench -- build [options]

  --rows N        experts (1000000)
  --dims N        dimensions (128)
  --data KIND     iid, clustered, or a .npy or .fbin file (iid)
  --portion N     experts of one upsert (1048576)
  --rounds N      of which the medians are told (5)
  --folder PATH   where the snapshot is written, for as long as it is needed (the system's folder for such files)
${COMMON_HELP}
  --json FILE     where the report goes (bench/results/local/build.json)

Example: npm run bench -- build --rows 100000`;

const OPTIONS = {
  rows: ['integer', '1000000', 1, 2 ** 30],
  dims: ['integer', '128', 1, 4096],
  data: ['text', 'iid'],
  portion: ['integer', String(2 ** 20), 1, 2 ** 30],
  rounds: ['integer', '5', 1, 1000],
  folder: ['text', tmpdir()],
  ...COMMON,
  json: ['text', 'bench/results/local/build.json'],
};

const PLAIN = 'as many bytes, plainly';

function writePlainly(path, bytes) {
  const piece = Buffer.alloc(2 ** 22, 1);
  const file = openSync(path, 'w');
  for (let at = 0; at < bytes; at += piece.length) writeSync(file, piece, 0, Math.min(piece.length, bytes - at));
  fsyncSync(file);
  closeSync(file);
  rmSync(path);
}

export async function main(args) {
  const options = readOptions(args, OPTIONS);
  if (options.help) return console.log(HELP);
  forceIsa(options.isa);
  const facts = provenance();
  const threads = options.threads ?? facts.cores;
  const say = (text) => console.error(text);
  say('making the data …');
  const data = await makeData({ ...options, kind: options.data, dimensions: options.dims, queryCount: 1 });
  const query = data.queries.subarray(0, data.dimensions);

  const ids = numbers(0, data.count);

  const stages = {};
  const timed = async (name, body) => {
    const start = performance.now();
    const result = await body();
    stages[name] ??= new Histogram();
    stages[name].record((performance.now() - start) * 1e6);
    return result;
  };
  const folder = mkdtempSync(join(options.folder, 'pointsman-bench-'));
  const path = join(folder, 'experts.index');
  let stats;
  let residentBytes;
  let fileBytes;
  try {
    for (let round = 0; round < options.rounds; round++) {
      const before = process.memoryUsage().rss;
      const index = new ExpertIndex({ dimensions: data.dimensions, threads });
      await timed('upsert', () => fillIndex(index, data, { portion: options.portion, ids }));
      residentBytes ??= process.memoryUsage().rss - before; // later rounds reuse memory
      // What a first search still has to do belongs to the building.
      await timed('first search', () => index.search(query, { k: 10 }));
      await timed('save', () => index.save(path));
      stats = index.stats();
      index.close();
      fileBytes = statSync(path).size;
      await timed(PLAIN, () => writePlainly(join(folder, 'plain'), fileBytes));
      for (const verify of ['full', 'lazy']) {
        const opened = await timed(`open, verify ${verify}`, () => ExpertIndex.open(path, { threads, verify }));
        await timed(`its first search, verify ${verify}`, () => opened.search(query, { k: 10 }));
        opened.close();
      }
      say(`round ${round + 1} of ${options.rounds}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }

  const look = () => (options.limits === 'none' ? undefined : measureLimits({ threads, isa: stats.isa, say }));
  const limits = highest(look(), look());
  const medians = Object.fromEntries(Object.entries(stages).map(([name, histogram]) => [name, histogram.summary(1e9).median]));
  const floats = data.count * data.dimensions * 4;
  // The rows are copied, as JavaScript may change them meanwhile, and then laid down in the index.
  const floors = {
    upsert: limits && (stats.bytes + Math.min(1, options.portion / data.count) * floats) / limits.freshBytesPerSecond,
    save: medians[PLAIN],
    'open, verify full': limits && fileBytes / limits.readBytesPerSecond,
    'open, verify lazy': limits && (fileBytes - floats) / limits.readBytesPerSecond,
  };
  const report = {
    benchmark: 'build',
    ...facts,
    data: options.data,
    rows: data.count,
    dimensions: data.dimensions,
    threads,
    isa: stats.isa,
    portion: options.portion,
    rounds: options.rounds,
    seed: options.seed,
    limits,
    bytesPerRow: stats.bytes / data.count,
    fileBytesPerRow: fileBytes / data.count,
    residentBytes,
    results: Object.entries(stages).map(([name, histogram]) => ({
      name,
      seconds: histogram.summary(1e9),
      floorSeconds: floors[name] ?? null,
      // A search moves no rows from here to there.
      rowsPerSecond: name.includes('search') ? null : data.count / medians[name],
    })),
  };
  writeJson(options.json, report);
  console.log(describeBuild(report));
}
