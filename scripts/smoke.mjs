// Does an installed pointsman work? Run from a folder that has it in node_modules: `node smoke.mjs`.
// Searches a small index and compares ids and score bits with the definition of a score, computed here.
import assert from 'node:assert/strict';
import { ExpertIndex } from 'pointsman';

const [dimensions, experts, k] = [37, 500, 5];
let state = 1;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32 - 0.5;
};
const vectors = Float32Array.from({ length: experts * dimensions }, random);
const query = Float32Array.from({ length: dimensions }, random);

/** Eight lanes, lane j adding the terms i ≡ j mod 8, then ((0+4)+(2+6))+((1+5)+(3+7)). */
function score(row) {
  const lane = new Float64Array(8);
  for (let i = 0; i < dimensions; i++) lane[i % 8] += vectors[row * dimensions + i] * query[i];
  return Math.fround(lane[0] + lane[4] + (lane[2] + lane[6]) + (lane[1] + lane[5] + (lane[3] + lane[7])));
}
const best = Array.from({ length: experts }, (_, row) => ({ id: `expert-${row}`, score: score(row) }))
  .sort((a, b) => b.score - a.score)
  .slice(0, k);

const index = new ExpertIndex({ dimensions });
await index.upsert(
  Array.from({ length: experts }, (_, row) => `expert-${row}`),
  vectors,
);
for (const result of [await index.search(query, { k }), index.searchSync(query, { k })]) {
  assert.deepEqual(
    result.ids(0),
    best.map((expert) => expert.id),
  );
  assert.deepEqual(
    [...result.scores],
    best.map((expert) => expert.score),
  );
}
const { isa, isaReason } = index.stats();
index.close();
console.log(`pointsman works on ${process.platform}-${process.arch}, Node ${process.version}: ${isa} (${isaReason})`);
