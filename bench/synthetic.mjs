// Synthetic vectors, made in blocks of rows whose random numbers depend on seed and block alone: any thread may make any
// block, and the first rows are the same however many are made.
import { Random } from '../dist/random.js';

/** Rows of a block. */
export const BLOCK = 4096;

const ROWS = 0;
const QUERIES = 1;
const SHARED = 2; // what all rows of a set have in common

/** Block ≤ 2^24 of a stream of a seed ≤ 2^26, as one seed below 2^53. */
const stream = (seed, which, block = 0) => new Random((seed * 4 + which) * 2 ** 24 + block);

/** A set of vectors: `rows(block, out)` and `queries(block, out)` fill a Float32Array of up to BLOCK rows. */
export function synthetic(kind, dimensions, seed) {
  const make = { iid, clustered }[kind];
  if (!make) throw new Error(`there is no data kind '${kind}'`);
  return make(dimensions, seed);
}

// iid: uniform directions, norms exp(0.25·z).
function iid(dimensions, seed) {
  const fill = (which) => (block, out) => {
    const normal = gaussian(stream(seed, which, block));
    for (let start = 0; start < out.length; start += dimensions) {
      let squares = 0;
      for (let j = start; j < start + dimensions; j++) {
        const x = normal();
        out[j] = x;
        squares += x * x;
      }
      const scale = Math.exp(0.25 * normal()) / Math.sqrt(squares);
      for (let j = start; j < start + dimensions; j++) out[j] *= scale;
    }
  };
  return { rows: fill(ROWS), queries: fill(QUERIES) };
}

// clustered: 1,000 centres in a subspace of rank 32 with spectrum (1+j)^−0.5, spread 0.6 about a centre, isotropic noise
// 0.05; queries from the same subspace with other cluster weights, spread 0.9 and a common shift (out of distribution).
function clustered(dimensions, seed) {
  const rank = Math.min(32, dimensions);
  const centres = 1000;
  const normal = gaussian(stream(seed, SHARED));
  const spectrum = Float64Array.from({ length: rank }, (_, j) => (1 + j) ** -0.5);
  const basis = orthonormal(rank, dimensions, normal);
  const padded = Math.ceil(rank / 4) * 4;
  const columns = new Float64Array(dimensions * padded);
  for (let i = 0; i < basis.length; i++) columns[(i % dimensions) * padded + Math.floor(i / dimensions)] = basis[i];
  const centre = Float64Array.from({ length: centres * rank }, (_, i) => normal() * spectrum[i % rank]);
  const shift = Float64Array.from({ length: rank }, (_, j) => 0.5 * normal() * spectrum[j]);
  const fill = (which, spread, weights, moved) => (block, out) => {
    const random = stream(seed, which, block);
    const noise = gaussian(random);
    const latent = new Float64Array(padded); // zeros past the rank
    for (let start = 0; start < out.length; start += dimensions) {
      const c = weights(random.uniform());
      for (let j = 0; j < rank; j++) latent[j] = centre[c * rank + j] + spread * noise() * spectrum[j] + (moved ? shift[j] : 0);
      // Component by component, so that the sum stays in a register.
      for (let d = 0; d < dimensions; d++) {
        let x = 0.05 * noise();
        for (let j = 0, at = d * padded; j < padded; j += 4, at += 4) {
          x +=
            latent[j] * columns[at] + latent[j + 1] * columns[at + 1] + latent[j + 2] * columns[at + 2] + latent[j + 3] * columns[at + 3];
        }
        out[start + d] = x;
      }
    }
  };
  return {
    rows: fill(ROWS, 0.6, (u) => Math.floor(u * centres), false),
    queries: fill(QUERIES, 0.9, (u) => Math.floor(u ** 3 * centres), true),
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

// Standard normal numbers by the ziggurat: Marsaglia and Tsang 2000, with Doornik's choice of layer and position
// from separate bits (2005). 128 layers of equal area V; X[i] is the right edge of layer i, layer 0 has the tail from R on.
const LAYERS = 128;
const R = 3.442619855899;
const V = 9.91256303526217e-3;
const X = new Float64Array(LAYERS + 1);
X[0] = V / Math.exp(-0.5 * R * R);
X[1] = R;
for (let i = 2; i < LAYERS; i++) X[i] = Math.sqrt(-2 * Math.log(V / X[i - 1] + Math.exp(-0.5 * X[i - 1] ** 2)));

/** A function that returns the next standard normal number. */
export function gaussian(random) {
  const open = () => (random.uint32() + 0.5) / 2 ** 32; // in (0, 1)
  return () => {
    for (;;) {
      const bits = random.uint32();
      const layer = bits & (LAYERS - 1);
      const x = ((bits >>> 7) / 2 ** 24 - 1) * X[layer]; // 25 bits: [−1, 1)
      if (Math.abs(x) < X[layer + 1]) return x;
      if (layer === 0) {
        for (;;) {
          const beyond = -Math.log(open()) / R;
          if (-2 * Math.log(open()) >= beyond * beyond) return x < 0 ? -R - beyond : R + beyond;
        }
      }
      const above = Math.exp(-0.5 * (X[layer] ** 2 - x * x));
      const below = Math.exp(-0.5 * (X[layer + 1] ** 2 - x * x));
      if (below + open() * (above - below) < 1) return x;
    }
  };
}
