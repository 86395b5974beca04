/**
 * Learning in stages: from outcome matrices, and in low rank where experts are many.
 *
 *  1. c_r(C), the expected outcome of a conversation whoever answers it: a ridge regression of the conversation's mean
 *     outcome (experts' biases taken off) on its coordinates, its penalty chosen by held-out error.
 *  2. Advantages: the outcome less the conversation's mean where at least two experts answered it (a hard conversation
 *     is no expert's fault), less a held-out c_r(C) otherwise.
 *  3. Biases and factors of the advantages, rank and penalty chosen on held-out folds (select.ts).
 */
import { run } from '../native.js';
import { type Factors, learnAddon, type Problem, type Settings } from './addon.js';
import { ahead, headStarts, meanAdvantages } from './head-start.js';
import type { Corpus, Work } from './learn.js';
import { type MetricObservations, runs } from './observations.js';
import { choose, worth } from './select.js';

/** What is learned on spectral coordinates. */
export interface Fitted {
  /** c_r(C): one component a metric. */
  expected: Factors;
  /** Advantages: output = metric × experts + expert. */
  factors: Factors;
  rank: number;
  penalty: number;
  /** Held out, of every outcome, metric by metric: standard deviations above the metric's mean. */
  predictions: Float32Array;
  advantages: Advantages;
}

/** What outcomes say beyond the conversation's expected ones. */
export interface Advantages {
  row: Uint32Array;
  /** metric × experts + expert */
  output: Uint32Array;
  target: Float32Array;
}

/** l, in units of the corpus's σ²: from the subjects of a small log to hardly more than the largest subjects. */
const PENALTIES = [1.5, 2.5, 4, 6, 9, 13, 20, 40];
/** Alternating least squares costs much more than one regression: a coarser choice. */
const LOW_RANK_PENALTIES = [4, 13, 40];
/** Pseudo-outcomes that hold an expert's factors at zero, per component. */
const SHRINKAGE = 30;

export async function fitInStages(
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  ranks: readonly number[],
  corpus: Corpus,
  fold: Uint32Array,
  work: Work,
): Promise<Fitted> {
  const expected = await fitExpected(metrics, biasPriors, experts, corpus, fold, work);
  const { row, output, target } = advantages(metrics, experts, expected);
  const outputs = metrics.length * experts;
  const whole: Problem = {
    coordinates: corpus.coordinates,
    rows: fold.length,
    dimensions: corpus.dimensions,
    row,
    output,
    target,
    outputs,
  };
  const common = { shrinkage: SHRINKAGE, biasPrior: Math.max(...biasPriors) };
  const candidates: Settings[] = [
    { rank: 0, penalties: [1], ...common },
    ...ranks.map((rank) => ({ rank, penalties: rank === outputs ? PENALTIES : LOW_RANK_PENALTIES, ...common })),
  ];
  const judged: { settings: Settings; headStart: number; predictions: Float32Array }[] = [];
  const bonus = ahead(metrics, experts, meanAdvantages(outputs, { output, target }));
  for (const settings of candidates) {
    const predictions = await run(
      (listener) => learnAddon().heldOutPredictions(whole, fold, settings, work.threads, listener),
      `rank ${settings.rank}`,
      work.tasks,
    );
    for (const [n, penalty] of settings.penalties.entries()) {
      const own = predictions.subarray(n * row.length, (n + 1) * row.length);
      // The best single expert is named by all outcomes, so biases alone are judged with its name known, too.
      const starts = headStarts(metrics);
      for (const headStart of settings.rank === 0 ? starts.slice(-1) : starts) {
        judged.push({
          settings: { ...settings, penalties: [penalty] },
          headStart,
          predictions: headStart === 0 ? own : own.map((value, e) => value + bonus(output[e] as number, headStart)),
        });
      }
    }
  }
  const picked = judged[choose(judged.map((each) => worth(metrics, target, each.predictions)))] as (typeof judged)[number];
  const { settings } = picked;
  const headStart = settings.rank === 0 ? 0 : picked.headStart;
  const predictions = picked.predictions.map((value, e) => value + bonus(output[e] as number, headStart - picked.headStart));
  const [factors] = await run(() => learnAddon().fitOutcomes(whole, settings, work.threads), 'fit', work.tasks);
  const { bias, ...rest } = factors as Factors;
  return {
    expected: expected.factors,
    factors: { ...rest, bias: bias.map((value, o) => value + bonus(o, headStart)) },
    rank: settings.rank,
    penalty: settings.penalties[0] as number,
    advantages: { row, output, target },
    predictions: predictions.map((advantage, e) => advantage + (expected.heldOut[e] as number)),
  };
}

export interface Expected {
  factors: Factors;
  /** Of every outcome, metric by metric: the held-out c_r(C), in standard deviations from the mean. */
  heldOut: Float32Array;
  /** By metric, then conversation: what to take off its outcomes. */
  taken: Float32Array[];
}

export async function fitExpected(
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  corpus: Corpus,
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
  const whole: Problem = {
    coordinates: corpus.coordinates,
    rows: fold.length,
    dimensions: corpus.dimensions,
    row: Uint32Array.from(row),
    output: Uint32Array.from(output),
    target: Float32Array.from(target),
    outputs: metrics.length,
  };
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
  const ofOutcomes = metrics.flatMap(({ conversation }, r) => Array.from(conversation, (i) => heldOut[r]?.[i] as number));
  return { factors: factors as Factors, heldOut: Float32Array.from(ofOutcomes), taken };
}

/** All metrics' advantages; output = metric × experts + expert. */
export function advantages(metrics: readonly MetricObservations[], experts: number, { taken }: Expected): Advantages {
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

function shrunkMeans(expert: Uint32Array, value: Float32Array, experts: number, prior: number): Float64Array {
  const count = new Float64Array(experts).fill(prior);
  const sum = new Float64Array(experts);
  for (let e = 0; e < value.length; e++) {
    count[expert[e] as number] = (count[expert[e] as number] as number) + 1;
    sum[expert[e] as number] = (sum[expert[e] as number] as number) + (value[e] as number);
  }
  return sum.map((total, m) => total / Math.max(1, count[m] as number));
}
