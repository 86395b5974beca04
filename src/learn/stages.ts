/**
 * Learning in stages: from outcome matrices, and in low rank where experts are many.
 *
 *  1. c_r(C), the expected outcome of a conversation whoever answers it: a ridge regression of the conversation's mean
 *     outcome (experts' biases taken off) on its coordinates, its penalty chosen by held-out error.
 *  2. Advantages: the outcome less the conversation's mean where at least two experts answered it (a hard conversation
 *     is no expert's fault), less a held-out c_r(C) otherwise.
 *  3. Biases and factors of the advantages, rank and penalty chosen on held-out folds (select.ts); with an encoder of the user's
 *     also neighbours (neighbours.ts), beside the regression or in its place.
 *
 * The regressions of 1 and of 3 each see the view (corpus.ts) that tells more, held out; that of 1 the text unless beyond doubt.
 */
import { run } from '../native.js';
import { type Factors, learnAddon, type Problem, type Settings } from './addon.js';
import { type Corpus, seenIn, type View, type ViewFactors, viewsOf } from './corpus.js';
import { ahead, headStarts, meanAdvantages } from './head-start.js';
import { MOST_FULL_RANK, type Work } from './learn.js';
import { type FittedNeighbours, type NeighbourSettings, neighbourLearner } from './neighbours.js';
import { type MetricObservations, runs } from './observations.js';
import { answeredBySeveral, best, choose, worth } from './select.js';

/** What is learned on spectral coordinates. */
export interface Fitted {
  /** c_r(C): one component a metric. */
  expected: ViewFactors;
  /** Advantages: output = metric × experts + expert. */
  factors: ViewFactors;
  rank: number;
  penalty: number;
  /** Held out, of every outcome, metric by metric: standard deviations above the metric's mean. */
  predictions: Float32Array;
  advantages: Advantages;
  /** Added to ψ in the dimensions of the factors, which are then one an output. */
  neighbours?: FittedNeighbours | undefined;
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
/** Of neighbours' estimates, beside the regression or in its place. */
const SHARES = [0.5, 0.75, 1];

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
  const { row, output, target } = advantages(metrics, experts, expected.taken);
  const outputs = metrics.length * experts;
  const problemOf = ({ coordinates, dimensions }: View): Problem => ({
    coordinates,
    rows: fold.length,
    dimensions,
    row,
    output,
    target,
    outputs,
  });
  const common = { shrinkage: SHRINKAGE, biasPrior: Math.max(...biasPriors) };
  const asked: Pick<Candidate, 'view' | 'settings'>[] = [{ view: corpus.text, settings: { rank: 0, penalties: [1], ...common } }];
  for (const view of viewsOf(corpus)) {
    // Below full rank a view cannot give more directions than it has.
    const possible = new Set(ranks.map((rank) => (rank === outputs ? outputs : Math.min(rank, view.dimensions))));
    for (const rank of [...possible].filter((rank) => rank > 0)) {
      asked.push({ view, settings: { rank, penalties: rank === outputs ? PENALTIES : LOW_RANK_PENALTIES, ...common } });
    }
  }
  const candidates: Candidate[] = [];
  for (const { view, settings } of asked) {
    const predictions = await run(
      (listener) => learnAddon().heldOutPredictions(problemOf(view), fold, settings, work.threads, listener),
      `rank ${settings.rank}`,
      work.tasks,
    );
    for (const [n, penalty] of settings.penalties.entries()) {
      const own = predictions.subarray(n * row.length, (n + 1) * row.length);
      candidates.push({ view, settings: { ...settings, penalties: [penalty] }, predictions: own });
    }
  }
  const fitted = async ({ view, settings }: Candidate): Promise<Factors> => {
    const [factors] = await run(() => learnAddon().fitOutcomes(problemOf(view), settings, work.threads), 'fit', work.tasks);
    return factors as Factors;
  };
  const biases = candidates[0] as Candidate;
  const full = candidates.filter(({ settings }) => settings.rank === outputs);
  const mayRemember = corpus.encoded && full.length > 0 && outputs <= MOST_FULL_RANK && answeredBySeveral(metrics);
  const ownBias = mayRemember ? (await fitted(biases)).bias : undefined;
  const learner = ownBias && neighbourLearner(corpus.encoded, { row, output, target }, ownBias, biases.predictions, fold, work);
  if (learner) {
    const regression = full[best(full.map(({ predictions }) => worth(metrics, target, predictions)))] as Candidate;
    for (const [s, estimates] of (await learner.estimates()).entries()) {
      const alone = estimates.map((value, e) => value + (biases.predictions[e] as number));
      for (const share of SHARES) {
        candidates.push({
          ...regression,
          neighbours: { settings: learner.settings[s] as NeighbourSettings, share },
          predictions: alone.map((value, e) => share * value + (1 - share) * (regression.predictions[e] as number)),
        });
      }
    }
  }
  const bonus = ahead(metrics, experts, meanAdvantages(outputs, { output, target }));
  const withStart = ({ predictions }: Candidate, headStart: number) =>
    headStart === 0 ? predictions : predictions.map((value, e) => value + bonus(output[e] as number, headStart));
  // The best single expert is named by all outcomes, so biases alone are judged with its name known, too.
  const starts = headStarts(metrics);
  const judged = candidates.flatMap((candidate) =>
    (candidate === biases ? starts.slice(-1) : starts).map((headStart) => ({ candidate, headStart })),
  );
  const picked = choose(judged.map(({ candidate, headStart }) => worth(metrics, target, withStart(candidate, headStart))));
  const { candidate } = judged[picked] as (typeof judged)[number];
  const headStart = candidate === biases ? 0 : (judged[picked]?.headStart as number);
  const { settings, neighbours } = candidate;
  const share = neighbours?.share ?? 0;
  const { bias, projection, ...rest } = await fitted(candidate);
  return {
    expected: expected.factors,
    factors: seenIn(candidate.view, {
      ...rest,
      bias: bias.map((value, o) => (1 - share) * value + share * (ownBias?.[o] ?? 0) + bonus(o, headStart)),
      projection: projection.map((value) => (1 - share) * value),
    }),
    rank: settings.rank,
    penalty: settings.penalties[0] as number,
    advantages: { row, output, target },
    predictions: withStart(candidate, headStart).map((advantage, e) => advantage + (expected.heldOut[e] as number)),
    neighbours: neighbours && (await learner?.fit(neighbours.settings, share)),
  };
}

/** A setting with its held-out predictions of every advantage. */
interface Candidate {
  view: View;
  settings: Settings;
  /** Neighbours' estimates count `share`, the regression of `settings` the rest. */
  neighbours?: { settings: NeighbourSettings; share: number };
  predictions: Float32Array;
}

export interface Expected {
  factors: ViewFactors;
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
  const told = { rows: fold.length, row: Uint32Array.from(row), output: Uint32Array.from(output), target: Float32Array.from(target) };
  const settings = { rank: metrics.length, penalties: PENALTIES, shrinkage: 1, biasPrior: 0 };
  const count = target.length;
  const candidates = [];
  for (const view of viewsOf(corpus)) {
    const { coordinates, dimensions } = view;
    const problem: Problem = { ...told, coordinates, dimensions, outputs: metrics.length };
    const all = await run(
      (listener) => learnAddon().heldOutPredictions(problem, fold, settings, threads, listener),
      'expected outcomes',
      tasks,
    );
    const fits = PENALTIES.map((penalty, n) => {
      const predictions = all.subarray(n * count, (n + 1) * count);
      return { view, problem, penalty, predictions, worth: Float64Array.from(target, (t, e) => -((t - (predictions[e] as number)) ** 2)) };
    });
    candidates.push(fits[best(fits.map(({ worth }) => worth))] as (typeof fits)[number]);
  }
  // The text unless the other view is better beyond doubt: picks do not depend on it where several answered.
  const { view, problem, penalty, predictions } = candidates[choose(candidates.map(({ worth }) => worth))] as (typeof candidates)[number];
  const [factors] = await run(
    () => learnAddon().fitOutcomes(problem, { ...settings, penalties: [penalty] }, threads),
    'expected outcomes',
    tasks,
  );
  const heldOut = metrics.map(() => new Float32Array(fold.length));
  const taken = metrics.map(() => new Float32Array(fold.length));
  for (let e = 0; e < count; e++) {
    const [i, r] = [row[e] as number, output[e] as number];
    const prediction = predictions[e] as number;
    (heldOut[r] as Float32Array)[i] = prediction;
    (taken[r] as Float32Array)[i] = several[e] ? (target[e] as number) : prediction;
  }
  const ofOutcomes = metrics.flatMap(({ conversation }, r) => Array.from(conversation, (i) => heldOut[r]?.[i] as number));
  return { factors: seenIn(view, factors as Factors), heldOut: Float32Array.from(ofOutcomes), taken };
}

/** Outcomes less what is `taken` off them, by metric and conversation. */
export function advantages(metrics: readonly MetricObservations[], experts: number, taken: readonly Float32Array[]): Advantages {
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
