// Synthetic interactions on disk, larger ones than memory would hold as objects: how time and memory grow.
import { closeSync, existsSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { factorise } from '../dist/index.js';
import { factorsAddon } from '../dist/learn/factors-addon.js';
import { provenance, table, writeJson } from './report.mjs';

const MODEL = { unobserved: 0.1, penalty: 0.01, exponent: 1, seed: 0 };

export async function scaleMain(values) {
  const count = Number(values.scale);
  const shape = { users: Math.ceil(count / 50), experts: Math.ceil(count / 100), weighted: false };
  const [factors, sweeps] = [Number(values.factors), Number(values.sweeps)];
  const folder = values.folder ?? 'bench/results/local/scale';
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${count}.interactions`);
  const checkpoint = join(folder, `${count}-${factors}.checkpoint`);
  const facts = provenance();
  let sortSeconds;
  if (!existsSync(path)) {
    const records = join(folder, `${count}.records`);
    const start = performance.now();
    generate(records, count, shape);
    console.error(`generated in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    const sort = performance.now();
    await factorsAddon().writeInteractions(records, path, shape, new Uint8Array(), new Uint8Array(), 2 ** 30, undefined).promise;
    rmSync(records);
    sortSeconds = (performance.now() - sort) / 1000;
    console.error(`sorted in ${sortSeconds.toFixed(1)} s`);
  }
  // An interrupt stops the run; the checkpoint of its last whole sweep stays, and the same command goes on from there.
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const start = performance.now();
  let last = start;
  const model = await factorise(path, {
    factors,
    sweeps,
    ...MODEL,
    checkpoint,
    resume: existsSync(checkpoint),
    signal: stop.signal,
    onProgress: ({ stage, done, total }) => {
      if (performance.now() - last < 5000) return;
      last = performance.now();
      console.error(`${stage} ${Math.floor((100 * done) / total)}%`);
    },
  });
  const seconds = (performance.now() - start) / 1000;
  const report = {
    benchmark: 'factorise-scale',
    synthetic: true,
    ...facts,
    interactions: count,
    ...shape,
    factors,
    sweeps: model.sweeps,
    seconds,
    secondsPerSweep: seconds / (model.sweeps + 0.5),
    interactionsPerSecond: (count * (model.sweeps + 0.5)) / seconds,
    sortSeconds,
    fileBytes: statSync(path).size,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  };
  writeJson(values.json ?? `bench/results/local/factorise-scale-${count}.json`, report);
  console.log(describeScale([report]));
}

/** Users meet experts whose popularity falls as a power law; drawn by a fixed generator. */
function generate(path, count, { users, experts }) {
  const piece = 1 << 16;
  const buffer = new ArrayBuffer(12 * piece);
  const [words, floats] = [new Uint32Array(buffer), new Float32Array(buffer)];
  const file = openSync(path, 'w');
  let state = 1;
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
  try {
    for (let done = 0; done < count; ) {
      const take = Math.min(piece, count - done);
      for (let n = 0; n < take; n++) {
        words[3 * n] = Math.floor(next() * users);
        words[3 * n + 1] = Math.floor(next() ** 2 * experts);
        floats[3 * n + 2] = 1;
      }
      for (let at = 0; at < 12 * take; ) at += writeSync(file, new Uint8Array(buffer, at, 12 * take - at));
      done += take;
    }
  } finally {
    closeSync(file);
  }
}

export function describeScale(reports) {
  const rows = reports.map((r) => [
    r.interactions.toLocaleString('en'),
    r.experts.toLocaleString('en'),
    r.users.toLocaleString('en'),
    r.secondsPerSweep.toFixed(2),
    Math.round(r.interactionsPerSecond).toLocaleString('en'),
    `${(r.fileBytes / 2 ** 30).toFixed(2)} GiB`,
    `${(r.peakMemoryBytes / 2 ** 30).toFixed(2)} GiB`,
  ]);
  return table(['synthetic interactions', 'experts', 'users', 'seconds a sweep', 'interactions a second', 'file', 'peak memory'], rows);
}
