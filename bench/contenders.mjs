// What the search benchmark times: pointsman, and the peers that are installed (npm ci --prefix bench/peers).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ExpertIndex } from '../dist/index.js';

const require = createRequire(new URL('./peers/package.json', import.meta.url));
// Past `exports`, which not every package lists its package.json in.
const versionOf = (name) => JSON.parse(readFileSync(new URL(`./peers/node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;

/**
 * Each contender: { name, version, search(queries, count, k) → ids of the k best, row-major (Float64Array or Uint32Array),
 * most: queries timed in one round (peers whose time is linear in the queries and long) }.
 */
export async function contenders(data, { threads, peers }) {
  const list = [await pointsman(data, threads)];
  for (const name of peers) {
    const make = { usearch, hnswlib }[name];
    if (!make) throw new Error(`there is no peer '${name}': usearch, hnswlib`);
    try {
      list.push(await make(data, threads));
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
      console.error(`SKIPPED ${name}: not installed. npm ci --prefix bench/peers`);
    }
  }
  return list;
}

async function pointsman({ rows, count, dimensions }, threads) {
  const index = new ExpertIndex({ dimensions, threads });
  const start = performance.now();
  await index.upsert(
    Array.from({ length: count }, (_, i) => String(i)),
    rows,
  );
  const buildSeconds = (performance.now() - start) / 1000;
  const stats = index.stats();
  return {
    name: 'pointsman',
    version: require('../../package.json').version,
    setting: `exact, ${stats.backend} ${stats.isa}, ${stats.threads} threads`,
    buildSeconds,
    bytesPerRow: stats.bytes / count,
    search: async (queries, _, k) => (await index.search(queries, { k })).handles,
  };
}

// Its calls hold the event loop, and memory grows by 16 bytes × rows × queries: 64 queries a call.
async function usearch({ rows, dimensions }, threads) {
  const { exactSearch, MetricKind } = require('usearch');
  return {
    name: 'usearch',
    version: versionOf('usearch'),
    setting: `exactSearch, float32, ${threads} threads, 64 queries a call`,
    most: 64,
    search: async (queries, count, k) => {
      const found = exactSearch(rows, queries, dimensions, k, MetricKind.IP, threads);
      const keys = found.keys ?? found.flatMap((f) => [...f.keys]);
      return Float64Array.from({ length: count * k }, (_, i) => Number(keys[i]));
    },
  };
}

// One query a call, on one thread: it has no other way.
async function hnswlib({ rows, count, dimensions }) {
  const { BruteforceSearch } = require('hnswlib-node');
  const index = new BruteforceSearch('ip', dimensions);
  index.initIndex(count);
  for (let i = 0; i < count; i++) index.addPoint(Array.from(rows.subarray(i * dimensions, (i + 1) * dimensions)), i);
  return {
    name: 'hnswlib-node',
    version: versionOf('hnswlib-node'),
    setting: 'BruteforceSearch, float32, 1 thread, one query a call',
    most: 16,
    search: async (queries, queryCount, k) => {
      const ids = new Uint32Array(queryCount * k);
      for (let q = 0; q < queryCount; q++) {
        const { neighbors } = index.searchKnn(Array.from(queries.subarray(q * dimensions, (q + 1) * dimensions)), k);
        ids.set(neighbors, q * k);
      }
      return ids;
    },
  };
}
