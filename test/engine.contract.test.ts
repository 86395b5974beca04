/** What every instruction set and backend must do alike; run once for each (POINTSMAN_ISA, POINTSMAN_TEST_BACKEND). */
import { afterAll, describe, expect, it } from 'vitest';
import { ExpertIndex } from '../src/engine/index.js';
import { Random } from '../src/random.js';

type Fill = (random: Random, row: number) => (column: number) => number;

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

const FILLS: Record<string, Fill> = {
  random: (random) => () => normal(random),
  clustered: (random, row) => (column) => Math.sin((row % 12) * 7 + column) + 0.01 * normal(random),
  'full of ties': (_, row) => (column) => Math.sin((row % 9) * 7 + column),
  'with zeros': (random, row) => () => (row % 3 === 0 ? 0 : row % 3 === 1 ? -0 : normal(random)),
  tiny: (random) => () => 1e-40 * normal(random),
  huge: (random) => () => (random.uniform() < 0.5 ? -1 : 1) * 1.5e17,
  'of spread norms': (random) => {
    const scale = Math.exp(3 * normal(random));
    return () => scale * normal(random);
  },
};

function matrix(fill: string, rows: number, dimensions: number, seed: number): Float32Array {
  const random = new Random(seed);
  const values = new Float32Array(rows * dimensions);
  for (let i = 0; i < rows; i++) {
    const value = (FILLS[fill] as Fill)(random, i);
    for (let j = 0; j < dimensions; j++) values[i * dimensions + j] = value(j);
  }
  return values;
}

/** The promised score, from its definition: float64, eight lanes, one order of folding, rounded to float32. */
function score(a: Float32Array, b: Float32Array): number {
  const lane = new Float64Array(8);
  for (let i = 0; i < a.length; i++) lane[i % 8] = (lane[i % 8] as number) + (a[i] as number) * (b[i] as number);
  const [l0, l1, l2, l3, l4, l5, l6, l7] = lane as unknown as [number, number, number, number, number, number, number, number];
  return Math.fround(l0 + l4 + (l2 + l6) + (l1 + l5 + (l3 + l7))) + 0;
}

function oracle(rows: Float32Array, dimensions: number, query: Float32Array, k: number, eligible: (row: number) => boolean) {
  const hits = [];
  for (let row = 0; row < rows.length / dimensions; row++) {
    if (eligible(row)) hits.push({ score: score(rows.subarray(row * dimensions, (row + 1) * dimensions), query), row });
  }
  return hits.sort((a, b) => b.score - a.score || a.row - b.row).slice(0, k);
}

const name = (i: number) => `expert ${i}`;

describe(`exact search (${process.env.POINTSMAN_ISA ?? 'default instruction set'})`, () => {
  const open: ExpertIndex[] = [];
  afterAll(() => {
    for (const index of open) index.close();
  });

  it.each([
    ['random', 0, 8, 10, 3],
    ['random', 1, 1, 1, 1],
    ['random', 9, 3, 10, 5],
    ['random', 1500, 31, 10, 17],
    ['random', 3000, 128, 100, 50],
    ['clustered', 2000, 96, 10, 2],
    ['clustered', 400, 768, 20, 7],
    ['full of ties', 3000, 32, 1000, 3],
    ['full of ties', 300, 200, 10, 64],
    ['with zeros', 2000, 31, 50, 5],
    ['tiny', 1000, 96, 10, 9],
    ['huge', 1000, 128, 10, 9],
    ['of spread norms', 2000, 200, 10, 20],
    ['of spread norms', 300, 1024, 300, 1],
  ])('%s: %i × %i, k=%i, %i queries', async (fill, count, dimensions, k, queryCount) => {
    const rows = matrix(fill, count, dimensions, 1);
    const queries = matrix(fill === 'tiny' || fill === 'huge' ? 'random' : fill, queryCount, dimensions, 2);
    if (queryCount > 1) queries.fill(0, dimensions, 2 * dimensions);
    const index = new ExpertIndex({ dimensions });
    open.push(index);
    await index.upsert(
      Array.from({ length: count }, (_, i) => name(i)),
      rows,
    );
    // A view with an offset, as users pass them.
    const shifted = new Float32Array(queries.length + 3);
    shifted.set(queries, 3);
    const result = await index.search(shifted.subarray(3), { k });
    const sync = index.searchSync(queries, { k });
    expect(sync.scores).toEqual(result.scores);
    expect(sync.handles).toEqual(result.handles);
    for (let q = 0; q < queryCount; q++) {
      const expected = oracle(rows, dimensions, queries.subarray(q * dimensions, (q + 1) * dimensions), k, () => true);
      expect(result.counts[q]).toBe(expected.length);
      expect(result.ids(q)).toEqual(expected.map((hit) => name(hit.row)));
      const scores = [...result.scores.subarray(q * k, (q + 1) * k)];
      expect(scores.slice(0, expected.length)).toEqual(expected.map((hit) => hit.score));
      expect(scores.slice(expected.length).every((s) => s === Number.NEGATIVE_INFINITY)).toBe(true);
    }
  });

  it('keeps to filters, removals and updates', async () => {
    const dimensions = 40;
    const rows = matrix('random', 2500, dimensions, 3);
    const index = new ExpertIndex({ dimensions, threads: 2 });
    open.push(index);
    await index.upsert(
      Array.from({ length: 2500 }, (_, i) => name(i)),
      rows,
    );
    const updated = matrix('random', 100, dimensions, 4);
    const updatedIds = Array.from({ length: 100 }, (_, i) => name(i * 3));
    await index.upsert(updatedIds, updated);
    for (let i = 0; i < 100; i++) rows.set(updated.subarray(i * dimensions, (i + 1) * dimensions), i * 3 * dimensions);
    const removed = new Set(Array.from({ length: 400 }, (_, i) => i * 5));
    expect(await index.remove([...removed].map(name))).toBe(400);
    expect(index.size).toBe(2100);

    const inFilter = (row: number) => row % 7 === 0;
    const ids = Array.from({ length: 2500 }, (_, i) => i)
      .filter(inFilter)
      .map(name);
    const filter = index.filter(ids);
    const others = index.filter(ids, { complement: true });
    await index.upsert(['late'], new Float32Array(dimensions).fill(1000)); // not in a filter made before
    const queries = matrix('random', 6, dimensions, 5);
    for (const [chosen, wanted] of [
      [filter, (row: number) => inFilter(row) && !removed.has(row)],
      [others, (row: number) => !inFilter(row) && !removed.has(row)],
    ] as const) {
      const result = await index.search(queries, { k: 12, filter: chosen });
      for (let q = 0; q < 6; q++) {
        const expected = oracle(rows, dimensions, queries.subarray(q * dimensions, (q + 1) * dimensions), 12, wanted);
        expect(result.ids(q)).toEqual(expected.map((hit) => name(hit.row)));
        expect([...result.scores.subarray(q * 12, (q + 1) * 12)]).toEqual(expected.map((hit) => hit.score));
      }
    }
  });

  it('runs on the instruction set and the backend that were asked for', () => {
    const index = new ExpertIndex({ dimensions: 1 });
    open.push(index);
    const asked = process.env.POINTSMAN_ISA;
    if (asked) expect(index.stats()).toMatchObject({ isa: asked, isaReason: 'forced by POINTSMAN_ISA' });
    else expect(index.stats().isa).not.toBe('');
    const backend = process.env.POINTSMAN_TEST_BACKEND;
    if (backend) expect(index.stats()).toMatchObject({ backend });
  });
});
