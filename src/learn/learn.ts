/**
 * Learning: outcomes in, a model out.
 *
 *  1. Text features of every conversation, and their spectral basis (native/train/spectral.hpp); no outcome is looked at.
 *  2. c_r(C), the expected outcome of a conversation whoever answers it: a ridge regression of the conversation's mean
 *     outcome (experts' biases taken off) on its coordinates, its penalty chosen by held-out error.
 *  3. Advantages: the outcome less the conversation's mean where at least two experts answered it (a hard conversation
 *     is no expert's fault), less a held-out c_r(C) otherwise.
 *  4. Biases and low-rank factors of the advantages, rank and penalty chosen on held-out folds (select.ts).
 *  5. Read-outs on the held-out predictions (calibration.ts).
 *  6. A last fit on everything, folded into one projection of the text features.
 */
import { textAddon } from '../encode/addon.js';
import { pack } from '../encode/pack.js';
import { PointsmanError } from '../errors.js';
import { native, run } from '../native.js';
import type { OutcomeTable, TaskOptions } from '../types.js';
import { type Factors, learnAddon, type Problem, type Settings } from './addon.js';
import { fitReadOut } from './calibration.js';
import { assemble, type LearnedModel } from './model.js';
import { foldsOf, type MetricObservations, observationsOf, runs } from './observations.js';
import { choose, worth } from './select.js';

export interface LearnOptions extends TaskOptions {
  /** Of the folds and the solvers. The same seed gives the same model, whatever the number of threads. Default 0. */
  seed?: number | undefined;
  /** Default: all of the pool. */
  threads?: number | undefined;
  /** Ranks to choose from, besides biases alone. Default: full where outputs (metrics × experts) are few, else 4 and 8. */
  ranks?: readonly number[] | undefined;
}

const FOLDS = 5;
/** Leading directions of the corpus that the regressions see. */
const SPECTRAL_DIMENSIONS = 192;
/** l, in units of the corpus's σ²: from the subjects of a small log to hardly more than the largest subjects. */
const PENALTIES = [1.5, 2.5, 4, 6, 9, 13, 20, 40];
/** Up to so many outputs each has a regression of its own. */
const MOST_FULL_RANK = 128;
const LOW_RANKS = [4, 8];
/** Alternating least squares costs much more than one regression: a coarser choice. */
const LOW_RANK_PENALTIES = [4, 13, 40];
/** Pseudo-outcomes that hold an expert's factors at zero, per component. */
const SHRINKAGE = 30;

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
  const corpus = await analyse(used, work);
  const fold = foldsOf(used, FOLDS, seed);

  const problem = (row: Uint32Array, output: Uint32Array, target: Float32Array, outputs: number): Problem => ({
    coordinates: corpus.coordinates,
    rows: used.conversations.length,
    dimensions: corpus.dimensions,
    row,
    output,
    target,
    outputs,
  });

  const biasPriors = metrics.map((observations) => biasPrior(observations, used.experts.length));
  const expected = await fitExpected(metrics, biasPriors, used.experts.length, problem, fold, work);
  const { row, output, target } = advantages(metrics, used.experts.length, expected);
  const outputs = metrics.length * used.experts.length;
  const whole = problem(row, output, target, outputs);
  const prior = Math.max(...biasPriors);
  const candidates = candidateSettings(outputs, corpus.dimensions, prior, options.ranks);
  const judged: { settings: Settings; predictions: Float32Array }[] = [];
  for (const settings of candidates) {
    const predictions = await run(
      (listener) => learnAddon().heldOutPredictions(whole, fold, settings, threads, listener),
      `rank ${settings.rank}`,
      work.tasks,
    );
    for (const [n, penalty] of settings.penalties.entries()) {
      judged.push({
        settings: { ...settings, penalties: [penalty] },
        predictions: predictions.subarray(n * row.length, (n + 1) * row.length),
      });
    }
  }
  const chosen = judged[choose(judged.map(({ predictions }) => worth(metrics, target, predictions)))] as (typeof judged)[number];

  const readOuts = readOutsOf(metrics, expected, chosen.predictions);
  const [factors] = await run(() => learnAddon().fitOutcomes(whole, chosen.settings, threads), 'fit', work.tasks);
  return assemble({
    seed,
    experts: used.experts,
    metrics,
    corpus,
    expected: expected.factors,
    factors: factors as Factors,
    settings: { rank: chosen.settings.rank, penalty: chosen.settings.penalties[0] as number, outcomes: row.length },
    readOuts,
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
  dimensions: number;
  /** U, conversations × dimensions */
  vectors: Float32Array;
  /** σ² */
  eigenvalues: Float64Array;
  /** Z = U Σ² */
  coordinates: Float32Array;
}

async function analyse(table: OutcomeTable, { seed, threads, tasks }: Work): Promise<Corpus> {
  const packed = pack(table.conversations);
  const addon = textAddon();
  const counts = await run((listener) => addon.textFeatures(...packed, new Float32Array(0), threads, listener), 'count n-grams', tasks);
  const idf = addon.inverseFrequencies(counts.columns, table.conversations.length);
  const rows = await run((listener) => addon.textFeatures(...packed, idf, threads, listener), 'weigh n-grams', tasks);
  const basis = await run(
    (listener) => learnAddon().spectralBasis(rows, SPECTRAL_DIMENSIONS, seed, threads, listener),
    'spectral basis',
    tasks,
  );
  const { dimensions, vectors, eigenvalues } = basis;
  const coordinates = new Float32Array(vectors.length);
  for (let i = 0; i < vectors.length; i++) coordinates[i] = (vectors[i] as number) * (eigenvalues[i % dimensions] as number);
  return { rows, idf, dimensions, vectors, eigenvalues, coordinates };
}

interface Expected {
  factors: Factors;
  /** By metric, then conversation: the held-out c_r(C), in standard deviations from the mean. */
  heldOut: Float32Array[];
  /** By metric, then conversation: what to take off its outcomes. */
  taken: Float32Array[];
}

async function fitExpected(
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  problem: (row: Uint32Array, output: Uint32Array, target: Float32Array, outputs: number) => Problem,
  fold: Uint32Array,
  { threads, tasks }: Work,
): Promise<Expected> {
  const row: number[] = [];
  const output: number[] = [];
  const target: number[] = [];
  const several: boolean[] = [];
  for (const [r, { conversation, expert, value }] of metrics.entries()) {
    const bias = shrunkMeans(expert, value, experts, biasPriors[r] as number);
    for (const [begin, end] of runs(conversation)) {
      let sum = 0;
      for (let e = begin; e < end; e++) sum += (value[e] as number) - (bias[expert[e] as number] as number);
      row.push(conversation[begin] as number);
      output.push(r);
      target.push(sum / (end - begin));
      several.push(end - begin > 1);
    }
  }
  const whole = problem(Uint32Array.from(row), Uint32Array.from(output), Float32Array.from(target), metrics.length);
  const settings = { rank: metrics.length, penalties: PENALTIES, shrinkage: 1, biasPrior: 0 };
  const predictions = await run(
    (listener) => learnAddon().heldOutPredictions(whole, fold, settings, threads, listener),
    'expected outcomes',
    tasks,
  );
  const count = target.length;
  const errors = PENALTIES.map((_, n) => target.reduce((sum, t, e) => sum + (t - (predictions[n * count + e] as number)) ** 2, 0));
  const best = errors.indexOf(Math.min(...errors));
  const [factors] = await run(
    () => learnAddon().fitOutcomes(whole, { ...settings, penalties: [PENALTIES[best] as number] }, threads),
    'expected outcomes',
    tasks,
  );
  const heldOut = metrics.map(() => new Float32Array(whole.rows));
  const taken = metrics.map(() => new Float32Array(whole.rows));
  for (let e = 0; e < count; e++) {
    const [i, r] = [row[e] as number, output[e] as number];
    const prediction = predictions[best * count + e] as number;
    (heldOut[r] as Float32Array)[i] = prediction;
    (taken[r] as Float32Array)[i] = several[e] ? (target[e] as number) : prediction;
  }
  return { factors: factors as Factors, heldOut, taken };
}

/** All metrics' advantages; output = metric × experts + expert. */
function advantages(metrics: readonly MetricObservations[], experts: number, { taken }: Expected) {
  const count = metrics.reduce((sum, { value }) => sum + value.length, 0);
  const row = new Uint32Array(count);
  const output = new Uint32Array(count);
  const target = new Float32Array(count);
  let to = 0;
  for (const [r, { conversation, expert, value }] of metrics.entries()) {
    for (let e = 0; e < value.length; e++, to++) {
      const i = conversation[e] as number;
      row[to] = i;
      output[to] = r * experts + (expert[e] as number);
      target[to] = (value[e] as number) - ((taken[r] as Float32Array)[i] as number);
    }
  }
  return { row, output, target };
}

function candidateSettings(outputs: number, dimensions: number, biasPrior: number, asked: readonly number[] | undefined): Settings[] {
  const given = asked ?? (outputs <= MOST_FULL_RANK ? [outputs] : LOW_RANKS);
  for (const rank of given) {
    if (!Number.isInteger(rank) || rank < 1 || rank > 1024)
      throw new PointsmanError('BAD_ARGUMENT', `ranks must be integers from 1 to 1024, not ${rank}`);
  }
  // A rank of at least the outputs is full rank; below, the corpus cannot give more directions than it has.
  const ranks = new Set(given.map((rank) => (rank >= outputs ? outputs : Math.min(rank, dimensions))).filter((rank) => rank > 0));
  const common = { shrinkage: SHRINKAGE, biasPrior };
  return [
    { rank: 0, penalties: [1], ...common },
    ...[...ranks].map((rank) => ({ rank, penalties: rank === outputs ? PENALTIES : LOW_RANK_PENALTIES, ...common })),
  ];
}

function readOutsOf(metrics: readonly MetricObservations[], { heldOut }: Expected, predictions: Float32Array) {
  let offset = 0;
  return metrics.map(({ metric, conversation, outcome }, r) => {
    const u = Float32Array.from(
      outcome,
      (_, e) => (predictions[offset + e] as number) + ((heldOut[r] as Float32Array)[conversation[e] as number] as number),
    );
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

function shrunkMeans(expert: Uint32Array, value: Float32Array, experts: number, prior: number): Float64Array {
  const count = new Float64Array(experts).fill(prior);
  const sum = new Float64Array(experts);
  for (let e = 0; e < value.length; e++) {
    count[expert[e] as number] = (count[expert[e] as number] as number) + 1;
    sum[expert[e] as number] = (sum[expert[e] as number] as number) + (value[e] as number);
  }
  return sum.map((total, m) => total / Math.max(1, count[m] as number));
}
