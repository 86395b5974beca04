// What the benchmarks search: synthetic sets, made by worker threads, or a file of vectors.
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { openVectors } from '../dist/cli/vectors.js';
import { BLOCK } from './synthetic.mjs';

/**
 * @returns {Promise<{ rows: Float32Array, queries: Float32Array, count: number, dimensions: number }>} row-major, in shared
 *   memory. `kind` is `iid`, `clustered` or the path of a .npy or .fbin file, the last `queryCount` rows of which are its
 *   queries. The same seed gives the same numbers on any number of threads.
 */
export async function makeData({ kind, rows, dimensions, queryCount, seed, threads = availableParallelism() }) {
  if (kind !== 'iid' && kind !== 'clustered') return fromFile(kind, rows, queryCount);
  const make = async (part, count) => {
    const values = shared(count * dimensions);
    const next = new Int32Array(new SharedArrayBuffer(4));
    const team = Array.from({ length: Math.min(threads, Math.ceil(count / BLOCK)) }, () => {
      const worker = new Worker(new URL('./fill.mjs', import.meta.url), { workerData: { kind, dimensions, seed, part, values, next } });
      return once(worker, 'exit'); // rejects with an error of the worker
    });
    await Promise.all(team);
    return values;
  };
  return { rows: await make('rows', rows), queries: await make('queries', queryCount), count: rows, dimensions };
}

const shared = (length) => new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));

async function fromFile(path, rows, queryCount) {
  const file = await openVectors(path);
  try {
    const { dimensions } = file;
    const count = Math.min(rows, file.rows - queryCount);
    if (count < 1) throw new Error(`${path} has ${file.rows} rows: too few beside ${queryCount} queries`);
    const read = async (start, length) => {
      const values = shared(length * dimensions);
      const portion = Math.max(1, Math.floor(2 ** 24 / dimensions));
      for (let at = 0; at < length; at += portion) {
        values.set(await file.read(start + at, Math.min(portion, length - at)), at * dimensions);
      }
      return values;
    };
    return { rows: await read(0, count), queries: await read(file.rows - queryCount, queryCount), count, dimensions };
  } finally {
    await file.close();
  }
}

/** Puts the rows into an index, named by their number, in portions: the ids of ten million rows never exist at once. */
export async function fillIndex(index, { rows, count, dimensions }, { portion = 2 ** 20, ids } = {}) {
  for (let start = 0; start < count; start += portion) {
    const end = Math.min(start + portion, count);
    await index.upsert(ids?.slice(start, end) ?? numbers(start, end), rows.subarray(start * dimensions, end * dimensions));
  }
}

/** The numbers from `start` to before `end`, as ids. */
export const numbers = (start, end) => Array.from({ length: end - start }, (_, i) => String(start + i));
