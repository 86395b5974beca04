/**
 * A model of what learners found: projections of the views' spectral coordinates folded into one of the features, experts' blocks stacked,
 * and a version that names it all.
 */
import { run } from '../native.js';
import type { Encoder } from '../types.js';
import { learnAddon } from './addon.js';
import { attributeWidth, type KnownAttribute } from './attributes.js';
import type { Beliefs } from './beliefs.js';
import type { ReadOut } from './calibration.js';
import { ATTRIBUTE_SCALE, type Corpus, type Part, type View, type ViewFactors, viewsOf } from './corpus.js';
import type { EncoderNeeded } from './encoder.js';
import type { Work } from './learn.js';
import { type ExpertVectors, LearnedModel, type ModelArrays, type ModelParameters } from './model.js';
import type { Memory } from './neighbours.js';
import type { MetricObservations } from './observations.js';

export interface Learned {
  seed: number;
  /** Names of the factors' dimensions, and what they begin with. Default: latent 1, …, and nothing. */
  named?: { names: readonly string[]; offset: readonly number[] } | undefined;
  experts: readonly string[];
  metrics: readonly Pick<MetricObservations, 'metric' | 'mean' | 'deviation'>[];
  corpus: Corpus;
  expected: ViewFactors;
  factors: ViewFactors;
  memory?: Memory | undefined;
  settings: { rank: number; penalty: number; outcomes: number };
  beliefs: Beliefs | undefined;
  readOuts: readonly ReadOut[];
  work: Work;
}

/** Folds what was learned on spectral coordinates into one projection, and stacks the experts' blocks. */
export async function assemble({
  seed,
  named,
  experts,
  metrics,
  corpus,
  expected,
  factors,
  memory,
  settings,
  beliefs,
  readOuts,
  work,
}: Learned): Promise<LearnedModel> {
  const learned = factors.rank;
  const p = learned + metrics.length;
  const { text, encoded, attributes } = corpus;
  const count = text.rows.starts.length - 1;
  const blocks = [
    { factors, column: 0 },
    { factors: expected, column: learned },
  ];
  const projections = new Map<View, Float32Array>();
  for (const view of viewsOf(corpus)) {
    const { rows, vectors, spectral } = view;
    const readout = readoutOf(blocks, spectral, p, (seen) => (seen === view ? 0 : undefined));
    // A model without an encoder has its text, though it tell nothing.
    if (encoded && readout.every((value) => value === 0)) continue;
    const fold = () => learnAddon().foldProjection(rows, vectors, spectral, readout, p, work.threads);
    projections.set(view, await run(fold, 'fold projection', work.tasks));
  }
  const ofText = projections.get(text);
  const ofVectors = encoded && projections.get(encoded)?.slice(0, encoded.centre.length * p);
  const arrays: ModelArrays = {
    text: ofText && { idf: text.idf, projection: ofText },
    head: encoded &&
      (ofVectors ?? memory) && {
        centre: encoded.centre,
        projection: ofVectors?.map((value) => value * encoded.scale) ?? new Float32Array(0),
        memory,
      },
    beliefs,
  };

  const parameters: ModelParameters = {
    seed,
    dimensionNames: [
      ...(named?.names ?? Array.from({ length: learned }, (_, j) => `latent ${j + 1}`)),
      ...metrics.map(({ metric }) => `expected ${metric.name}`),
    ],
    metrics: metrics.map(({ metric, mean, deviation }, r) => ({
      name: metric.name,
      mean,
      deviation,
      expected: expected.bias[r] as number,
      readOut: readOuts[r] as ReadOut,
    })),
    reads: [...(ofText ? (['text'] as const) : []), ...(ofVectors ? (['encoder'] as const) : [])],
    ...(encoded && { encoder: neededOf(encoded.encoder) }),
    ...(memory && { neighbours: { ...memory.settings, share: memory.share, conversations: memory.index.size, outputs: memory.outputs } }),
    ...(named && { offset: Array.from({ length: p }, (_, j) => Math.fround(named.offset[j] ?? 0)) }),
    ...(attributes.length > 0 && { attributes: attributeVectors(attributes, blocks, p) }),
    ...(beliefs && { beliefs: beliefs.parameters }),
    chosen: { ...settings, conversations: count, experts: experts.length },
  };
  const vectors = stacked(experts, metrics.length, factors);
  const numbers = [
    ...(arrays.text ? [arrays.text.projection] : []),
    ...(arrays.head ? [arrays.head.centre, arrays.head.projection] : []),
    ...(encoded && memory ? [memory.told, encoded.rows.values] : []),
    vectors.vectors,
  ];
  const version = versionOf([parameters, experts], numbers);
  return new LearnedModel(parameters, arrays, vectors, version, { threads: work.threads, encoder: encoded?.encoder });
}

/** Experts' vectors: for each metric [φ_r(m), with zeros for what is expected of the conversation; b_r(m)]. */
function stacked(experts: readonly string[], metrics: number, { rank, vectors, bias }: ViewFactors): ExpertVectors {
  const width = rank + metrics + 1;
  const dimensions = metrics * width;
  const rows = new Float32Array(experts.length * dimensions);
  for (let m = 0; m < experts.length; m++) {
    for (let r = 0; r < metrics; r++) {
      const o = r * experts.length + m;
      const end = m * dimensions + (r + 1) * width;
      rows.set(vectors.subarray(o * rank, (o + 1) * rank), end - width);
      rows[end - 1] = bias[o] as number;
    }
  }
  return { ids: [...experts], vectors: rows, dimensions };
}

/** Of all that a model is. */
function versionOf(texts: readonly unknown[], numbers: readonly Float32Array[]): string {
  const checksum = (bytes: Uint8Array) => learnAddon().checksum(bytes);
  const parts = [
    ...texts.map((each) => checksum(Buffer.from(JSON.stringify(each)))),
    ...numbers.map(({ buffer, byteOffset, byteLength }) => checksum(new Uint8Array(buffer, byteOffset, byteLength))),
  ];
  return checksum(Buffer.from(parts.join(' ')));
}

/** Columns of ψ, from one on. */
interface Block {
  factors: ViewFactors;
  column: number;
}

/** Some rows of the blocks' projections, rows × p: the sum over views. @param first the first of them in a view; undefined: none */
function readoutOf(blocks: readonly Block[], rows: number, p: number, first: (view: View) => number | undefined): Float32Array {
  const out = new Float32Array(rows * p);
  for (const { factors, column } of blocks) {
    const { rank, parts } = factors;
    for (const { view, projection } of parts) {
      const start = first(view);
      if (start === undefined) continue;
      for (let k = 0; k < rows; k++) {
        for (let j = 0; j < rank; j++) {
          const at = k * p + column + j;
          out[at] = (out[at] as number) + (projection[(start + k) * rank + j] as number);
        }
      }
    }
  }
  return out;
}

function neededOf({ dimensions, id }: Encoder): EncoderNeeded {
  return { dimensions, ...(id !== undefined && { id }) };
}

/**
 * The factors with ψ's dimensions from `kept` on brought to mean square 1 over the training conversations, what they were divided by,
 * and ψ of those conversations. @param added to the projection of each conversation: conversations × rank
 */
export function normalised(factors: ViewFactors, kept = 0, added?: Float32Array) {
  const { rank, parts, vectors } = factors;
  const count = (parts[0] as Part).view.rows.starts.length - 1;
  const psi = new Float32Array(count * rank);
  const sums = new Float64Array(rank);
  const row = new Float64Array(rank);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < rank; j++) row[j] = added?.[i * rank + j] ?? 0;
    for (const { view, projection } of parts) {
      for (let k = 0; k < view.dimensions; k++) {
        const z = view.coordinates[i * view.dimensions + k] as number;
        for (let j = 0; j < rank; j++) row[j] = (row[j] as number) + z * (projection[k * rank + j] as number);
      }
    }
    psi.set(row, i * rank);
    for (let j = 0; j < rank; j++) sums[j] = (sums[j] as number) + (row[j] as number) ** 2;
  }
  const scale = sums.map((sum, j) => (sum > 0 && j >= kept ? Math.sqrt(sum / count) : 1));
  const divided = (values: Float32Array) => values.map((value, i) => value / (scale[i % rank] as number));
  return {
    scale,
    psi: divided(psi),
    factors: {
      ...factors,
      parts: parts.map(({ view, projection }) => ({ view, projection: divided(projection) })),
      vectors: vectors.map((value, i) => value * (scale[i % rank] as number)),
    },
  };
}

/** What each value adds to ψ: its rows of the projections come after those of the spectral coordinates. */
function attributeVectors(attributes: readonly KnownAttribute[], blocks: readonly Block[], p: number) {
  const readout = readoutOf(blocks, attributeWidth(attributes), p, ({ spectral }) => spectral);
  let row = 0;
  return attributes.map((attribute) => ({
    ...attribute,
    vectors: attribute.values.map(() => {
      const vector = Array.from({ length: p }, (_, j) => Math.fround(ATTRIBUTE_SCALE * (readout[row * p + j] as number)));
      row++;
      return vector;
    }),
  }));
}
