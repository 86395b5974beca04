// What the search benchmark searches: synthetic sets, seeded, or a file of vectors.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Random } from '../dist/random.js';

// Standard normal numbers (Box and Muller), both of each pair used.
function gaussian(random) {
  let kept;
  return () => {
    if (kept !== undefined) {
      const value = kept;
      kept = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    const angle = 2 * Math.PI * random.uniform();
    kept = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

// iid: uniform directions, norms exp(0.25·z).
function iid(count, dimensions, seed) {
  const normal = gaussian(new Random(seed));
  const values = new Float32Array(count * dimensions);
  for (let i = 0; i < count; i++) {
    let squares = 0;
    for (let j = i * dimensions; j < (i + 1) * dimensions; j++) {
      const x = normal();
      values[j] = x;
      squares += x * x;
    }
    const scale = Math.exp(0.25 * normal()) / Math.sqrt(squares);
    for (let j = i * dimensions; j < (i + 1) * dimensions; j++) values[j] *= scale;
  }
  return values;
}

// clustered: 1,000 centres in a subspace of rank 32 with spectrum (1+j)^−0.5, spread 0.6 about a centre, isotropic noise
// 0.05; queries from the same subspace with other cluster weights, spread 0.9 and a common shift (out of distribution).
function clustered(dimensions, seed) {
  const rank = Math.min(32, dimensions);
  const centres = 1000;
  const random = new Random(seed);
  const normal = gaussian(random);
  const spectrum = Float64Array.from({ length: rank }, (_, j) => (1 + j) ** -0.5);
  const basis = orthonormal(rank, dimensions, normal);
  const centre = Float64Array.from({ length: centres * rank }, (_, i) => normal() * spectrum[i % rank]);
  const shift = Float64Array.from({ length: rank }, (_, j) => 0.5 * normal() * spectrum[j]);
  const sample = (count, spread, weights, moved) => {
    const values = new Float32Array(count * dimensions);
    const latent = new Float64Array(rank);
    for (let i = 0; i < count; i++) {
      const c = weights(random.uniform());
      for (let j = 0; j < rank; j++) latent[j] = centre[c * rank + j] + spread * normal() * spectrum[j] + (moved ? shift[j] : 0);
      for (let d = 0; d < dimensions; d++) {
        let x = 0.05 * normal();
        for (let j = 0; j < rank; j++) x += latent[j] * basis[j * dimensions + d];
        values[i * dimensions + d] = x;
      }
    }
    return values;
  };
  return {
    rows: (count) => sample(count, 0.6, (u) => Math.floor(u * centres), false),
    queries: (count) => sample(count, 0.9, (u) => Math.floor(u ** 3 * centres), true),
  };
}

function orthonormal(rank, dimensions, normal) {
  const basis = Float64Array.from({ length: rank * dimensions }, () => normal());
  const row = (i) => basis.subarray(i * dimensions, (i + 1) * dimensions);
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < i; j++) {
      const overlap = dot(row(i), row(j));
      for (let d = 0; d < dimensions; d++) row(i)[d] -= overlap * row(j)[d];
    }
    const norm = Math.sqrt(dot(row(i), row(i)));
    for (let d = 0; d < dimensions; d++) row(i)[d] /= norm;
  }
  return basis;
}

// .fbin: int32 count, int32 dimensions, float32 values. .npy: version 1–3, '<f4', C order, two axes.
function readVectors(path) {
  const file = openSync(path, 'r');
  try {
    const bytes = fstatSync(file).size;
    const head = Buffer.alloc(Math.min(bytes, 4096));
    readSync(file, head, 0, head.length, 0);
    let offset, count, dimensions;
    if (head.subarray(1, 6).toString('latin1') === 'NUMPY') {
      const long = head[6] >= 2;
      offset = (long ? 12 : 10) + (long ? head.readUInt32LE(8) : head.readUInt16LE(8));
      const text = head.subarray(0, offset).toString('latin1');
      const shape = /'shape':\s*\((\d+),\s*(\d+),?\)/.exec(text);
      if (!text.includes("'<f4'") || text.includes("'fortran_order': True") || !shape) {
        throw new Error(`${path} must hold a float32 matrix in C order`);
      }
      count = Number(shape[1]);
      dimensions = Number(shape[2]);
    } else {
      offset = 8;
      count = head.readInt32LE(0);
      dimensions = head.readInt32LE(4);
    }
    if (!(count > 0 && dimensions > 0) || bytes !== offset + count * dimensions * 4) {
      throw new Error(`${path} is neither a whole .npy nor a whole .fbin file`);
    }
    const values = new Float32Array(count * dimensions);
    const target = new Uint8Array(values.buffer);
    for (let at = 0; at < target.length; ) at += readSync(file, target, at, Math.min(1 << 28, target.length - at), offset + at);
    return { values, count, dimensions };
  } finally {
    closeSync(file);
  }
}

/** Rows and queries of a data kind (`iid`, `clustered`) or of a file, the last `queryCount` rows of which are its queries. */
export function makeData({ kind, rows, dimensions, queryCount, seed }) {
  if (kind === 'iid') {
    return { rows: iid(rows, dimensions, seed), queries: iid(queryCount, dimensions, seed + 1), count: rows, dimensions };
  }
  if (kind === 'clustered') {
    const source = clustered(dimensions, seed);
    return { rows: source.rows(rows), queries: source.queries(queryCount), count: rows, dimensions };
  }
  const file = readVectors(kind);
  const count = Math.min(rows, file.count - queryCount);
  if (count < 1) throw new Error(`${kind} has ${file.count} rows: too few for ${queryCount} queries`);
  return {
    rows: file.values.subarray(0, count * file.dimensions),
    queries: file.values.subarray((file.count - queryCount) * file.dimensions),
    count,
    dimensions: file.dimensions,
  };
}
