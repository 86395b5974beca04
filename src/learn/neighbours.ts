/**
 * Learning from neighbours, for encoders that read meaning: what the conversations nearest by told of the experts.
 *
 * With x the conversation's vector, centred and brought to length 1, c_i = ⟨x, x_i⟩ the cosine with its i-th nearest training
 * conversation (of k), a_io what output o (metric, expert) was there beyond its bias:
 *
 *     n_o(C) = Σ_i w_i a_io / (Σ_i w_i + λ)        w_i = max(0, c_i) / c_1 · log(k / i), sums over those i that know o
 *
 * which is distance-weighted nearest neighbours (Dudani, IEEE Trans. SMC 6(4), 1976), shrunken to the bias by λ. The logarithm makes
 * it the mean of such estimates over all numbers of neighbours up to k, small ones counting more, so that k need hardly be chosen.
 * Neighbours are found exactly, by the engine. The estimates are components of ψ beside those of the regression, in the same
 * dimensions: experts' vectors and the search for experts know nothing of them.
 */
import { setImmediate } from 'node:timers/promises';
import { ExpertIndex, MAX_DIMENSIONS } from '../engine/index.js';
import { Random } from '../random.js';
import type { TaskOptions } from '../types.js';
import type { EncodedView } from './corpus.js';
import type { Work } from './learn.js';
import { placesBy } from './observations.js';
import type { Advantages } from './stages.js';

export interface NeighbourSettings {
  /** k */
  count: number;
  /** λ: neighbours' weight that holds an output at its bias. */
  shrinkage: number;
}

/** Training conversations as they are remembered: row i of both is the same conversation. */
export interface Memory {
  settings: NeighbourSettings;
  /** What the estimates count beside the regression; `told` has it in it. */
  share: number;
  /** Their directions; ids are their numbers, handles too. */
  index: ExpertIndex;
  /** rows × outputs: share · a_io, in the units of ψ; NaN where the conversation does not know o. */
  told: Float32Array;
  outputs: number;
}

/** Conversations that are remembered at most: of more, a sample. */
const MOST_REMEMBERED = 50_000;
/** k, where each conversation knows all outputs. */
const COUNTS = [60, 240, 960];
const SHRINKAGE = 2;
/** k at most: larger ones take most of the time of learning. */
const MOST_ASKED = 1024;
/** Sums, and queries, between two turns of the event loop: requests go on meanwhile, and an abort is heard. */
const PORTION = 2_000_000;
const MOST_QUERIES = 1024;

/** Vectors less their centre, at length 1; one that is the centre stays 0. */
export function directionsOf(vectors: Float32Array, centre: Float32Array): Float32Array {
  const wide = centre.length;
  const out = new Float32Array(vectors.length);
  for (let start = 0; start < vectors.length; start += wide) {
    let squares = 0;
    for (let d = 0; d < wide; d++) squares += ((vectors[start + d] as number) - (centre[d] as number)) ** 2;
    const inverse = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let d = 0; d < wide; d++) out[start + d] = ((vectors[start + d] as number) - (centre[d] as number)) * inverse;
  }
  return out;
}

/** Adds the neighbours' estimates to the first `outputs` components of every row of `psi`, rows × p. */
export async function addNeighbours(memory: Memory, directions: Float32Array, psi: Float32Array, p: number, tasks: TaskOptions) {
  const { settings, index, told, outputs } = memory;
  const estimate = estimator(told, outputs);
  const bias = new Float32Array(outputs); // it is taken off what they told
  await visit(index, directions, settings.count, outputs, tasks, (i, rows, cosines) => {
    for (const [o, value] of estimate(settings, rows, cosines, bias).entries()) psi[i * p + o] = (psi[i * p + o] as number) + value;
  });
}

/** The estimates of one conversation: a buffer that the next call overwrites. */
function estimator(told: Float32Array, outputs: number) {
  const sums = new Float64Array(outputs);
  const weights = new Float64Array(outputs);
  return ({ count, shrinkage }: NeighbourSettings, rows: Uint32Array, cosines: Float32Array, bias: Float32Array): Float64Array => {
    sums.fill(0);
    weights.fill(0);
    const nearest = cosines[0] ?? 0;
    for (let n = 0; n < Math.min(count, cosines.length); n++) {
      const cosine = cosines[n] as number;
      if (!(cosine > 0)) break; // the nearest come first
      const weight = (cosine / nearest) * Math.log(count / (n + 1));
      const start = (rows[n] as number) * outputs;
      for (let o = 0; o < outputs; o++) {
        const value = told[start + o] as number;
        if (Number.isNaN(value)) continue;
        sums[o] = (sums[o] as number) + weight * (value - (bias[o] as number));
        weights[o] = (weights[o] as number) + weight;
      }
    }
    for (let o = 0; o < outputs; o++) sums[o] = (sums[o] as number) / ((weights[o] as number) + shrinkage);
    return sums;
  };
}

/** Calls `body` for every direction with its nearest rows, nearest first, and their cosines. */
async function visit(
  index: ExpertIndex,
  directions: Float32Array,
  count: number,
  outputs: number,
  { signal, onProgress }: TaskOptions,
  body: (i: number, rows: Uint32Array, cosines: Float32Array) => void,
) {
  const total = directions.length / index.dimensions;
  const portion = Math.max(1, Math.min(MOST_QUERIES, Math.floor(PORTION / (count * outputs))));
  for (let start = 0; start < total; start += portion) {
    const end = Math.min(total, start + portion);
    const found = await index.search(directions.subarray(start * index.dimensions, end * index.dimensions), { k: count, signal });
    for (let i = start; i < end; i++) {
      const from = (i - start) * count;
      const to = from + (found.counts[i - start] as number);
      body(i, found.handles.subarray(from, to), found.scores.subarray(from, to));
    }
    onProgress?.({ stage: 'neighbours', done: end, total });
    if (end < total) await setImmediate();
  }
}

/** What learning from neighbours found, in units of the outputs. */
export interface FittedNeighbours {
  settings: NeighbourSettings;
  /** What the estimates count beside the regression; `told` and `heldOut` have it in them. */
  share: number;
  /** remembered × dimensions */
  directions: Float32Array;
  /** remembered × outputs: share · a_io */
  told: Float32Array;
  /** Of every conversation, held out: conversations × outputs. */
  heldOut: Float32Array;
}

/**
 * Learns from neighbours; undefined where the conversations' vectors are none that could be searched.
 * @param bias of every output @param heldOut for every outcome the bias of its output without the outcome's fold
 */
export function neighbourLearner(
  view: EncodedView | undefined,
  found: Advantages,
  bias: Float32Array,
  heldOut: Float32Array,
  fold: Uint32Array,
  { seed, threads, tasks }: Work,
) {
  if (view === undefined || view.centre.length > MAX_DIMENSIONS) return undefined;
  const wide = view.centre.length;
  const rows = fold.length;
  const outputs = bias.length;
  const directions = directionsOf(view.rows.values, new Float32Array(wide)); // these rows are centred
  const telling = Uint32Array.from(new Set(found.row));
  const remembered = new Random(seed).shuffle(telling).slice(0, MOST_REMEMBERED).sort();
  const told = toldBy(remembered, rows, found, outputs);
  const biasOfFold = new Map([...new Set(fold)].map((f) => [f, bias.slice()]));
  for (const [e, i] of found.row.entries()) {
    (biasOfFold.get(fold[i] as number) as Float32Array)[found.output[e] as number] = heldOut[e] as number;
  }
  const known = told.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0) / remembered.length;
  // Where conversations know few of the outputs, so many more neighbours are asked.
  const most = Math.min(MOST_ASKED, remembered.length);
  const counts = new Set(COUNTS.map((count) => Math.min(most, Math.max(1, Math.round((count * outputs) / known)))));
  const settings = [...counts].map((count): NeighbourSettings => ({ count, shrinkage: SHRINKAGE }));
  const gather = (from: Uint32Array) => {
    const out = new Float32Array(from.length * wide);
    for (const [n, i] of from.entries()) out.set(directions.subarray(i * wide, (i + 1) * wide), n * wide);
    return out;
  };

  /** Every conversation asks those of the other folds. */
  async function ask(asked: readonly NeighbourSettings[], body: (conversation: number, s: number, estimates: Float64Array) => void) {
    const count = Math.max(...asked.map((each) => each.count));
    const estimate = estimator(told, outputs);
    const all = Uint32Array.from({ length: rows }, (_, i) => i);
    for (const [f, own] of biasOfFold) {
      const places = Uint32Array.from(remembered.keys()).filter((n) => fold[remembered[n] as number] !== f);
      const asking = all.filter((i) => fold[i] === f);
      const index = await indexOf(gather(places.map((n) => remembered[n] as number)), wide, threads, tasks);
      try {
        await visit(index, gather(asking), count, outputs, tasks, (n, handles, cosines) => {
          const near = handles.map((handle) => places[handle] as number);
          for (const [s, each] of asked.entries()) {
            body(asking[n] as number, s, estimate(each, near, cosines, own));
          }
        });
      } finally {
        index.close();
      }
    }
  }

  return {
    settings,

    /** Of each setting, of every outcome in the order of `found`: the held-out estimate. */
    async estimates(): Promise<Float32Array[]> {
      const out = settings.map(() => new Float32Array(found.row.length));
      const { starts, order } = placesBy(found.row, rows);
      await ask(settings, (i, s, values) => {
        for (const e of order.subarray(starts[i], starts[i + 1])) (out[s] as Float32Array)[e] = values[found.output[e] as number] as number;
      });
      return out;
    },

    /** @param share what the estimates count */
    async fit(chosen: NeighbourSettings, share: number): Promise<FittedNeighbours> {
      const estimates = new Float32Array(rows * outputs);
      await ask([chosen], (i, _, values) => estimates.set(values, i * outputs));
      return {
        settings: chosen,
        share,
        directions: gather(remembered),
        told: told.map((value, at) => share * (value - (bias[at % outputs] as number))),
        heldOut: estimates.map((value) => share * value),
      };
    },
  };
}

/** The memory of a model. @param scale what the dimensions of ψ were divided by */
export async function rememberedBy(
  { settings, share, directions, told }: FittedNeighbours,
  scale: Float64Array,
  { threads, tasks }: Work,
): Promise<Memory> {
  const outputs = scale.length;
  const index = await indexOf(directions, (directions.length * outputs) / told.length, threads, tasks);
  return { settings, share, index, told: told.map((value, at) => value / (scale[at % outputs] as number)), outputs };
}

/** @param directions rows × dimensions */
async function indexOf(directions: Float32Array, dimensions: number, threads: number | undefined, tasks: TaskOptions) {
  const index = new ExpertIndex({ dimensions, ...(threads !== undefined && { threads }) });
  const ids = Array.from({ length: directions.length / dimensions }, (_, i) => String(i));
  await index.upsert(ids, directions, { signal: tasks.signal });
  return index;
}

function toldBy(remembered: Uint32Array, rows: number, { row, output, target }: Advantages, outputs: number): Float32Array {
  const place = new Int32Array(rows).fill(-1);
  for (const [n, i] of remembered.entries()) place[i] = n;
  const size = remembered.length * outputs;
  const [sums, counts] = [new Float64Array(size), new Uint32Array(size)];
  for (const [e, i] of row.entries()) {
    const [n, o] = [place[i] as number, output[e] as number];
    if (n < 0) continue;
    const at = n * outputs + o;
    sums[at] = (sums[at] as number) + (target[e] as number);
    counts[at] = (counts[at] as number) + 1;
  }
  return Float32Array.from(sums, (sum, at) => sum / (counts[at] as number)); // 0 / 0 where nothing is known
}
