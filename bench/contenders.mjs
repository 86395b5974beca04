// What the search benchmark times: pointsman, and the peers that are installed. A contender is
//   { name, version, setting, exact, buildSeconds, bytesPerRow, most?, search(first, count, k, wantIds), close() }
// where search looks for the k best of `count` queries from the query `first` on, and resolves with { milliseconds, ids }:
// row numbers, count × k, best first. `most`: queries of one call at most, for peers whose time is linear in the queries.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ExpertIndex } from '../dist/index.js';
import { fillIndex } from './data.mjs';
import { NATIVE_PEERS, startNativePeers } from './native-peers.mjs';

const require = createRequire(new URL('./peers/package.json', import.meta.url));
// Past `exports`, which not every package lists its package.json in.
const versionOf = (name) => JSON.parse(readFileSync(new URL(`./peers/node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;

const NPM_PEERS = { usearch, hnswlib };
export const PEERS = [...Object.keys(NPM_PEERS), ...NATIVE_PEERS];

/** pointsman first, then the peers of these names that are installed; of the others one line is told. */
export async function startContenders(data, { threads, peers, say }) {
  const list = [await pointsman(data, threads)];
  try {
    for (const name of peers.filter((peer) => peer in NPM_PEERS)) {
      try {
        list.push(await NPM_PEERS[name](data, threads));
      } catch (error) {
        if (error.code !== 'MODULE_NOT_FOUND') throw error;
        say(`SKIPPED ${name}: not installed. npm ci --prefix bench/peers`);
      }
    }
    list.push(...(await startNativePeers(data, { threads, peers: peers.filter((peer) => NATIVE_PEERS.includes(peer)), say })));
    return list;
  } catch (error) {
    for (const contender of list) await contender.close();
    throw error;
  }
}

async function timed(body) {
  const start = performance.now();
  const ids = await body();
  return { milliseconds: performance.now() - start, ids };
}

async function pointsman(data, threads) {
  const { count, dimensions, queries } = data;
  const index = new ExpertIndex({ dimensions, threads });
  const before = process.memoryUsage().rss;
  const { milliseconds } = await timed(() => fillIndex(index, data));
  const stats = index.stats();
  return {
    name: 'pointsman',
    version: require('../../package.json').version,
    setting: `exact, ${stats.backend} ${stats.isa}, ${stats.threads} threads, pruning: ${stats.pruning}`,
    exact: true,
    isa: stats.isa,
    buildSeconds: milliseconds / 1000,
    bytesPerRow: stats.bytes / count,
    residentBytes: process.memoryUsage().rss - before,
    // Handles rise with insertion: they are the row numbers.
    search: (first, length, k) =>
      timed(async () => (await index.search(queries.subarray(first * dimensions, (first + length) * dimensions), { k })).handles),
    close: async () => index.close(),
  };
}

// Its calls hold the event loop, need 16 bytes × rows × queries, refuse shared memory, and ignore where a typed array begins in
// its buffer.
async function usearch({ rows, count, queries, dimensions }, threads) {
  const { exactSearch, MetricKind } = require('usearch');
  const matrix = rows.slice();
  const most = Math.max(1, Math.min(64, Math.floor(2 ** 30 / (16 * count))));
  return {
    name: 'usearch',
    version: versionOf('usearch'),
    setting: `exactSearch, float32, ${threads} threads, ${most} queries a call`,
    exact: true,
    buildSeconds: 0,
    bytesPerRow: 4 * dimensions,
    most,
    search: async (first, length, k) => {
      const own = queries.slice(first * dimensions, (first + length) * dimensions);
      const { milliseconds, ids: found } = await timed(() => exactSearch(matrix, own, dimensions, k, MetricKind.IP, threads));
      const keys = found.keys ?? found.flatMap((f) => [...f.keys]);
      return { milliseconds, ids: Float64Array.from({ length: length * k }, (_, i) => Number(keys[i])) };
    },
    close: async () => {},
  };
}

// One query a call, on one thread: it has no other way. It takes arrays, the making of which is not counted.
async function hnswlib({ rows, count, queries, dimensions }) {
  const { BruteforceSearch } = require('hnswlib-node');
  const index = new BruteforceSearch('ip', dimensions);
  index.initIndex(count);
  const row = (values, i) => Array.from(values.subarray(i * dimensions, (i + 1) * dimensions));
  const { milliseconds } = await timed(() => {
    for (let i = 0; i < count; i++) index.addPoint(row(rows, i), i);
  });
  return {
    name: 'hnswlib-node',
    version: versionOf('hnswlib-node'),
    setting: 'BruteforceSearch, float32, 1 thread, one query a call',
    exact: true,
    buildSeconds: milliseconds / 1000,
    bytesPerRow: 4 * dimensions + 8,
    most: 16,
    search: (first, length, k) => {
      const own = Array.from({ length }, (_, q) => row(queries, first + q));
      return timed(() => {
        const ids = new Uint32Array(length * k);
        for (let q = 0; q < length; q++) ids.set(index.searchKnn(own[q], k).neighbors, q * k);
        return ids;
      });
    },
    close: async () => {},
  };
}
