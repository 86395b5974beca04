// A worker thread of data.mjs: makes blocks until none are left.
import { workerData } from 'node:worker_threads';
import { BLOCK, synthetic } from './synthetic.mjs';

const { kind, dimensions, seed, part, values, next } = workerData;
const make = synthetic(kind, dimensions, seed)[part];
const size = BLOCK * dimensions;
for (;;) {
  const block = Atomics.add(next, 0, 1);
  if (block * size >= values.length) break;
  make(block, values.subarray(block * size, (block + 1) * size));
}
