/**
 * Learning: outcomes in, a model out.
 *
 *  1. Text features of every conversation, and their spectral basis (native/train/spectral.hpp); no outcome is looked at.
 *  2. The expected outcome of a conversation whoever answers it, the experts' biases and their factors, with every
 *     setting chosen inside the data: in one regression where one expert answered each conversation and outputs are few
 *     (joint.ts), otherwise in stages (stages.ts).
 *  3. Read-outs on the held-out predictions (calibration.ts).
 *  4. All folded into one projection of the text features (model.ts).
 */
import { textAddon } from '../encode/addon.js';
import { pack } from '../encode/pack.js';
import { PointsmanError } from '../errors.js';
import { native, run } from '../native.js';
import type { Encoder, OutcomeTable, TaskOptions } from '../types.js';
import { learnAddon } from './addon.js';
import { fitReadOut } from './calibration.js';
import { checkEncoder, encodeWith, rowsOf } from './head.js';
import { fitJointly } from './joint.js';
import { assemble, type LearnedModel } from './model.js';
import { foldsOf, type MetricObservations, observationsOf } from './observations.js';
import { answeredBySeveral } from './select.js';
import { fitInStages } from './stages.js';

export interface LearnOptions extends TaskOptions {
  /** Of the folds and the solvers. The same seed gives the same model, whatever the number of threads. Default 0. */
  seed?: number | undefined;
  /** Default: all of the pool. */
  threads?: number | undefined;
  /** Ranks to choose from, besides biases alone. Default: full where outputs (metrics × experts) are few, else 4 and 8. */
  ranks?: readonly number[] | undefined;
  /**
   * Reads the conversations in place of the built-in encoder, such as an OnnxEncoder or an EndpointEncoder. The model is then
   * opened with the same one.
   */
  encoder?: Encoder | undefined;
}

const FOLDS = 5;
/** Leading directions of the corpus that the regressions see. */
const SPECTRAL_DIMENSIONS = 192;
/** Up to so many outputs each has a regression of its own. */
const MOST_FULL_RANK = 128;
const LOW_RANKS = [4, 8];

/** @throws PointsmanError NOT_ENOUGH_DATA, BAD_DATA, BAD_CONVERSATION, BAD_ARGUMENT, WRONG_SHAPE, ABORTED */
export async function learn(table: OutcomeTable, options: LearnOptions = {}): Promise<LearnedModel> {
  const { seed = 0, threads = native().doctor().threads, signal, onProgress } = options;
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new PointsmanError('BAD_ARGUMENT', `seed must be an integer of at least 0, not ${String(seed)}`);
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new PointsmanError('BAD_ARGUMENT', `threads must be an integer from 1 to 1024, not ${String(threads)}`);
  }
  const work: Work = { seed, threads, tasks: { signal, onProgress } };
  const used = observedPart(table);
  const metrics = observationsOf(used);
  if (options.encoder !== undefined) checkEncoder(options.encoder);
  const corpus = await analyse(used, options.encoder, work);
  const fold = foldsOf(used, FOLDS, seed);

  const biasPriors = metrics.map((observations) => biasPrior(observations, used.experts.length));
  const outputs = metrics.length * used.experts.length;
  const ranks = ranksOf(outputs, corpus.dimensions, options.ranks);
  const jointly = !answeredBySeveral(metrics) && ranks.every((rank) => rank === outputs);
  const fitted = jointly
    ? await fitJointly(metrics, biasPriors, used.experts.length, corpus, fold, work)
    : await fitInStages(metrics, biasPriors, used.experts.length, ranks, corpus, fold, work);
  const { expected, factors, rank, penalty, predictions } = fitted;
  return assemble({
    seed,
    experts: used.experts,
    metrics,
    corpus,
    expected,
    factors,
    settings: { rank, penalty, outcomes: predictions.length },
    readOuts: readOutsOf(metrics, predictions),
    work,
  });
}

export interface Work {
  seed: number;
  threads: number;
  tasks: TaskOptions;
}

/** What the conversations have in common: features, idf, and coordinates on the spectral basis. */
export interface Corpus {
  rows: { starts: Uint32Array; columns: Uint32Array; values: Float32Array };
  idf: Float32Array;
  /** Where the user's encoder gave the features: `values` of the rows are (vector − centre) · scale. */
  encoded: { encoder: Encoder; centre: Float32Array; scale: number } | undefined;
  dimensions: number;
  /** U, conversations × dimensions */
  vectors: Float32Array;
  /** σ² */
  eigenvalues: Float64Array;
  /** Z = U Σ² */
  coordinates: Float32Array;
}

/** Features of the conversations, of their text or by the user's encoder. */
async function featuresOf(table: OutcomeTable, encoder: Encoder | undefined, { threads, tasks }: Work) {
  const addon = textAddon();
  if (encoder) {
    const vectors = await encodeWith(encoder, table.conversations, tasks);
    const { rows, ...encoded } = rowsOf(vectors, encoder.dimensions, addon.textColumns());
    return { rows, idf: new Float32Array(0), encoded: { encoder, ...encoded } };
  }
  const packed = pack(table.conversations);
  const counts = await run((listener) => addon.textFeatures(...packed, new Float32Array(0), threads, listener), 'count n-grams', tasks);
  const idf = addon.inverseFrequencies(counts.columns, table.conversations.length);
  const rows = await run((listener) => addon.textFeatures(...packed, idf, threads, listener), 'weigh n-grams', tasks);
  return { rows, idf, encoded: undefined };
}

async function analyse(table: OutcomeTable, encoder: Encoder | undefined, work: Work): Promise<Corpus> {
  const { seed, threads, tasks } = work;
  const { rows, idf, encoded } = await featuresOf(table, encoder, work);
  const basis = await run(
    (listener) => learnAddon().spectralBasis(rows, SPECTRAL_DIMENSIONS, seed, threads, listener),
    'spectral basis',
    tasks,
  );
  const { dimensions, vectors, eigenvalues } = basis;
  const coordinates = new Float32Array(vectors.length);
  for (let i = 0; i < vectors.length; i++) coordinates[i] = (vectors[i] as number) * (eigenvalues[i % dimensions] as number);
  return { rows, idf, encoded, dimensions, vectors, eigenvalues, coordinates };
}

function ranksOf(outputs: number, dimensions: number, asked: readonly number[] | undefined): number[] {
  const given = asked ?? (outputs <= MOST_FULL_RANK ? [outputs] : LOW_RANKS);
  for (const rank of given) {
    if (!Number.isInteger(rank) || rank < 1 || rank > 1024)
      throw new PointsmanError('BAD_ARGUMENT', `ranks must be integers from 1 to 1024, not ${rank}`);
  }
  // A rank of at least the outputs is full rank; below, the corpus cannot give more directions than it has.
  return [...new Set(given.map((rank) => (rank >= outputs ? outputs : Math.min(rank, dimensions))))].filter((rank) => rank > 0);
}

function readOutsOf(metrics: readonly MetricObservations[], predictions: Float32Array) {
  let offset = 0;
  return metrics.map(({ metric, outcome }) => {
    const u = predictions.subarray(offset, offset + outcome.length);
    offset += outcome.length;
    return fitReadOut(metric, u, outcome);
  });
}

/** Only the conversations and experts that have an outcome: the rest cannot teach, and an expert without outcomes has no vector. */
function observedPart(table: OutcomeTable): OutcomeTable {
  const conversations = numbering(table.conversation, table.conversations.length);
  const experts = numbering(table.expert, table.experts.length);
  return {
    ...table,
    conversations: conversations.kept.map((c) => table.conversations[c] as OutcomeTable['conversations'][number]),
    experts: experts.kept.map((e) => table.experts[e] as string),
    conversation: table.conversation.map((c) => conversations.to[c] as number),
    expert: table.expert.map((e) => experts.to[e] as number),
    ...(table.group && { group: Uint32Array.from(conversations.kept, (c) => table.group?.[c] as number) }),
  };
}

function numbering(column: Uint32Array, size: number): { kept: number[]; to: Uint32Array } {
  const present = new Uint8Array(size);
  for (const entry of column) {
    if (entry >= size) throw new PointsmanError('WRONG_SHAPE', 'a record names a conversation or an expert that is not in the table');
    present[entry] = 1;
  }
  const kept = Array.from({ length: size }, (_, i) => i).filter((i) => present[i]);
  const to = new Uint32Array(size);
  for (const [place, i] of kept.entries()) to[i] = place;
  return { kept, to };
}

/**
 * The pseudo-outcomes of a bias: noise variance over the variance of experts' true means, by the method of moments
 * (one-way random effects).
 */
function biasPrior({ expert, value }: MetricObservations, experts: number): number {
  const count = new Float64Array(experts);
  const sum = new Float64Array(experts);
  for (let e = 0; e < value.length; e++) {
    count[expert[e] as number] = (count[expert[e] as number] as number) + 1;
    sum[expert[e] as number] = (sum[expert[e] as number] as number) + (value[e] as number);
  }
  // Σ_m (sum_m² − Σ squares) / Σ_m count_m (count_m − 1) estimates the variance of the means: pairs share no noise.
  let pairs = 0;
  let products = 0;
  let squares = 0;
  for (const v of value) squares += v * v;
  for (let m = 0; m < experts; m++) {
    pairs += (count[m] as number) * ((count[m] as number) - 1);
    products += (sum[m] as number) ** 2;
  }
  const between = pairs > 0 ? Math.max(1e-3, (products - squares) / pairs) : 1e-3;
  return Math.min(1000, Math.max(0, 1 - between) / between);
}
