/** The engine alone: an index of your own vectors, filtered and searched. Run: node examples/index-search.mjs */
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExpertIndex } from 'pointsman';

const dimensions = 4;
const index = new ExpertIndex({ dimensions });
await index.upsert(
  ['north', 'east', 'south', 'west'],
  Float32Array.from(
    [
      [0, 1, 0, 0],
      [1, 0, 0, 0],
      [0, -1, 0, 0],
      [-1, 0, 0, 0],
    ].flat(),
  ),
);

const queries = Float32Array.of(0.9, 0.4, 0, 0, /* second query */ -0.2, -1, 0, 0);
const result = await index.search(queries, { k: 2 });
for (let i = 0; i < result.count; i++) console.log(`query ${i}:`, result.ids(i).join(', '));

const withoutEast = index.filter(['east'], { complement: true });
console.log('without east:', index.searchSync(queries.subarray(0, dimensions), { k: 1, filter: withoutEast }).ids(0)[0]);

const path = join(tmpdir(), `compass-${process.pid}.index`);
await index.save(path);
const again = await ExpertIndex.open(path);
console.log('saved and opened:', again.size, 'vectors on', again.stats().isa);
again.close();
index.close();
await rm(path);
