/**
 * Which mix of short-term metrics predicts a long-term outcome: α of an objective, from cohorts of users.
 *
 * For each user the means of the metrics over a first period, and an outcome of later (did they return on day 30: 0 or 1; or
 * an amount). A ridge regression of the outcome on the metrics, each on the scale that experts are compared on (standard
 * deviations between answers, `scales`; by default between users):
 *
 *     minimise  Σ_u loss(y_u, c + Σ_r α_r · x_ur / s_r) + ½ λ Σ_r α_r²       loss: logistic for 0 and 1, else squares
 *
 * so the signs are natural, and the result can be given to `route` as it is: only the ratios of its weights matter there.
 * Intervals are percentiles over resamples of users. Correlation is not causation: where users who return anyway rate
 * higher, a weight says that, too; confirm with an experiment.
 */
import { checkOptions, PointsmanError, plural } from '../errors.js';
import { Random } from '../random.js';
import type { MetricName, Objective, TaskOptions } from '../types.js';
import { METRIC_NAMES, METRICS } from './metrics.js';

/** A user of a cohort: the mean of each metric over their answers, and what came of it. */
export interface CohortUser {
  user: string;
  /** Means over the user's answers in the first period; natural values (`length` in messages, `rating` in stars). */
  metrics: { readonly [metric in MetricName]?: number };
  /** The long-term outcome: 0 or 1 (then the regression is logistic), or any finite number. More is better. */
  outcome: number;
}

export interface ObjectiveOptions extends TaskOptions {
  /** Standard deviations of the metrics between answers, as a model has them (`model.parameters.metrics`); default: between users. */
  scales?: { readonly [metric in MetricName]?: number } | undefined;
  /** λ, in users. Default 1. */
  penalty?: number | undefined;
  /** Resamples. Default 1,000. */
  replicates?: number | undefined;
  seed?: number | undefined;
}

export interface Weight {
  mean: number;
  /** 95%. */
  low: number;
  high: number;
}

export interface FittedObjective {
  /** For `route`: the weights, those whose interval holds 0 too. */
  objective: Objective;
  /** The weights whose interval does not hold 0; undefined where there are none. */
  certain: Objective | undefined;
  weights: { readonly [metric in MetricName]?: Weight };
  /** Logistic: the area under the curve; else R²; of users that were held out, in 5 folds. Chance: 0.5, or 0. */
  quality: number;
  kind: 'logistic' | 'linear';
  users: number;
  /** Users who lack a metric, left out. */
  incomplete: number;
}

const STEPS = 30;
const FOLDS = 5;
const LEAST_PER_METRIC = 10;

/** @throws PointsmanError BAD_DATA, BAD_ARGUMENT, NOT_ENOUGH_DATA, DUPLICATE_ID, ABORTED */
export function fitObjective(cohort: Iterable<CohortUser>, options: ObjectiveOptions = {}): FittedObjective {
  checkOptions(options, ['scales', 'penalty', 'replicates', 'seed', 'signal', 'onProgress'], 'fitObjective');
  const { penalty = 1, replicates = 1000, seed = 0, scales = {}, signal, onProgress } = options;
  if (!(typeof penalty === 'number' && penalty > 0 && penalty < 1e12))
    throw new PointsmanError('BAD_ARGUMENT', `penalty must be a number above 0, not ${String(penalty)}`);
  if (!Number.isInteger(replicates) || replicates < 20)
    throw new PointsmanError('BAD_ARGUMENT', `replicates must be an integer of at least 20, not ${replicates}`);
  const users = checkCohort(cohort);
  const metrics = METRIC_NAMES.filter((name) => users.some((user) => user.metrics[name] !== undefined));
  const whole = users.filter((user) => metrics.every((name) => user.metrics[name] !== undefined));
  const p = metrics.length;
  if (p === 0 || whole.length < LEAST_PER_METRIC * (p + 1)) {
    throw new PointsmanError(
      'NOT_ENOUGH_DATA',
      `${plural(whole.length, 'user')} with ${metrics.join(', ') || 'any metric'}: at least ${LEAST_PER_METRIC * (p + 1)} are needed`,
    );
  }
  const y = Float64Array.from(whole, ({ outcome }) => outcome);
  if (y.every((value) => value === y[0]))
    throw new PointsmanError('NOT_ENOUGH_DATA', `the outcome of every user is ${y[0]}: nothing tells them apart`);
  const kind = y.every((value) => value === 0 || value === 1) ? 'logistic' : 'linear';
  const x = standardised(whole, metrics, scales);
  const problem: Problem = { x, y: kind === 'logistic' ? y : scaled(y), p, kind, penalty };

  const ones = new Float64Array(y.length).fill(1);
  const fitted = fit(problem, ones);
  const drawn: number[][] = metrics.map(() => []);
  const random = new Random(seed);
  for (let b = 0; b < replicates; b++) {
    if (signal?.aborted) throw new PointsmanError('ABORTED', 'fitting the objective was aborted', { cause: signal.reason });
    const counts = new Float64Array(y.length);
    for (let n = 0; n < y.length; n++) {
      const user = random.below(y.length);
      counts[user] = (counts[user] as number) + 1;
    }
    const resampled = fit(problem, counts);
    for (let r = 0; r < p; r++) drawn[r]?.push(resampled[r] as number);
    onProgress?.({ stage: 'resample users', done: b + 1, total: replicates });
  }
  const weights: { [metric in MetricName]?: Weight } = {};
  for (const [r, name] of metrics.entries()) {
    const sorted = (drawn[r] as number[]).toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
    weights[name] = { mean: fitted[r] as number, low: at(0.025), high: at(0.975) };
  }
  const certain = metrics.filter((name) => (weights[name] as Weight).low > 0 === (weights[name] as Weight).high > 0);
  const objectiveOf = (names: readonly MetricName[]): Objective =>
    Object.fromEntries(names.map((name) => [name, (weights[name] as Weight).mean]));
  return {
    objective: objectiveOf(metrics),
    certain: certain.length > 0 ? objectiveOf(certain) : undefined,
    weights,
    quality: heldOutQuality(problem, random),
    kind,
    users: whole.length,
    incomplete: users.length - whole.length,
  };
}

function checkCohort(cohort: Iterable<CohortUser>): CohortUser[] {
  if (cohort === null || typeof cohort !== 'object' || !(Symbol.iterator in cohort))
    throw new PointsmanError('BAD_ARGUMENT', 'a cohort must be a list of { user, metrics, outcome }');
  const met = new Set<string>();
  return Array.from(cohort, (value, n) => {
    const bad = (what: string) => new PointsmanError('BAD_DATA', `user ${n + 1} of the cohort: ${what}`);
    if (value === null || typeof value !== 'object') throw bad('expected { user, metrics, outcome }');
    const { user, metrics, outcome } = value;
    if (typeof user !== 'string' || user === '') throw bad('user must be a string that is not empty');
    if (met.has(user)) throw new PointsmanError('DUPLICATE_ID', `the cohort names the user '${user}' twice`);
    met.add(user);
    if (typeof outcome !== 'number' || !Number.isFinite(outcome)) throw bad(`outcome must be a finite number, not ${String(outcome)}`);
    if (metrics === null || typeof metrics !== 'object') throw bad('metrics must be an object');
    for (const [name, mean] of Object.entries(metrics) as [string, unknown][]) {
      const metric = METRIC_NAMES.find((each) => each === name);
      if (metric === undefined) throw bad(`there is no metric '${name}'; there are ${METRIC_NAMES.join(', ')}`);
      const { low, high } = METRICS[metric];
      if (mean !== undefined && !(typeof mean === 'number' && mean >= low && mean <= high))
        throw bad(`the mean of ${name} must be from ${low} to ${high}, not ${String(mean)}`);
    }
    return value;
  });
}

/** users × p, centred, in units of the metrics' deviations on the scale of the regression of `learn`. */
function standardised(
  users: readonly CohortUser[],
  metrics: readonly MetricName[],
  scales: { readonly [metric in MetricName]?: number },
): Float64Array {
  for (const [name, scale] of Object.entries(scales)) {
    if (!METRIC_NAMES.some((metric) => metric === name) || !(scale > 0 && Number.isFinite(scale)))
      throw new PointsmanError(
        'BAD_ARGUMENT',
        `scales must be deviations above 0 of ${METRIC_NAMES.join(', ')}; got ${name}: ${String(scale)}`,
      );
  }
  const p = metrics.length;
  const x = new Float64Array(users.length * p);
  for (const [r, name] of metrics.entries()) {
    const column = Float64Array.from(users, (user) => METRICS[name].scale(user.metrics[name] as number));
    const unit = scaled(column);
    if (unit.every((value) => value === 0))
      throw new PointsmanError('NOT_ENOUGH_DATA', `${name} is the same for every user: its weight cannot be told`);
    const factor = scales[name] === undefined ? 1 : deviationOf(column) / (scales[name] as number);
    for (let n = 0; n < users.length; n++) x[n * p + r] = (unit[n] as number) * factor;
  }
  return x;
}

function deviationOf(column: Float64Array): number {
  const mean = column.reduce((sum, value) => sum + value, 0) / column.length;
  return Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / column.length);
}

function scaled(column: Float64Array): Float64Array {
  const mean = column.reduce((sum, value) => sum + value, 0) / column.length;
  const deviation = deviationOf(column);
  return column.map((value) => (deviation > 1e-12 * Math.max(1, Math.abs(mean)) ? (value - mean) / deviation : 0));
}

interface Problem {
  x: Float64Array;
  y: Float64Array;
  p: number;
  kind: 'logistic' | 'linear';
  penalty: number;
}

/** α, then the constant, by Newton's steps; `counts` weighs the users. */
function fit({ x, y, p, kind, penalty }: Problem, counts: Float64Array): Float64Array {
  const n = p + 1;
  const beta = new Float64Array(n);
  for (let step = 0; step < STEPS; step++) {
    const gradient = new Float64Array(n);
    const hessian = new Float64Array(n * n);
    for (let r = 0; r < p; r++) {
      gradient[r] = -penalty * (beta[r] as number);
      hessian[r * n + r] = penalty;
    }
    hessian[p * n + p] = 1e-9;
    for (let u = 0; u < y.length; u++) {
      const count = counts[u] as number;
      if (count === 0) continue;
      let eta = beta[p] as number;
      for (let r = 0; r < p; r++) eta += (beta[r] as number) * (x[u * p + r] as number);
      const mu = kind === 'linear' ? eta : 1 / (1 + Math.exp(-eta));
      const rest = count * ((y[u] as number) - mu);
      const weight = count * (kind === 'linear' ? 1 : mu * (1 - mu));
      for (let a = 0; a < n; a++) {
        const left = a === p ? 1 : (x[u * p + a] as number);
        gradient[a] = (gradient[a] as number) + rest * left;
        for (let b = 0; b <= a; b++) {
          const right = b === p ? 1 : (x[u * p + b] as number);
          hessian[a * n + b] = (hessian[a * n + b] as number) + weight * left * right;
        }
      }
    }
    const move = solve(hessian, gradient, n);
    const length = Math.sqrt(move.reduce((sum, value) => sum + value * value, 0));
    const limit = kind === 'linear' ? 1 : Math.min(1, 4 / Math.max(length, 1e-12)); // no wild steps far from the optimum
    for (let a = 0; a < n; a++) beta[a] = (beta[a] as number) + limit * (move[a] as number);
    if (length < 1e-9) break;
  }
  return beta;
}

/** Cholesky's; the lower triangle is read. The penalty keeps the matrix positive definite. */
function solve(matrix: Float64Array, right: Float64Array, n: number): Float64Array {
  const l = Float64Array.from(matrix);
  const out = Float64Array.from(right);
  const at = (i: number, j: number) => l[i * n + j] as number;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = at(i, j);
      for (let k = 0; k < j; k++) sum -= at(i, k) * at(j, k);
      l[i * n + j] = i === j ? Math.sqrt(Math.max(sum, 1e-12)) : sum / at(j, j);
    }
    for (let k = 0; k < i; k++) out[i] = (out[i] as number) - at(i, k) * (out[k] as number);
    out[i] = (out[i] as number) / at(i, i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) out[i] = (out[i] as number) - at(k, i) * (out[k] as number);
    out[i] = (out[i] as number) / at(i, i);
  }
  return out;
}

function heldOutQuality(problem: Problem, random: Random): number {
  const { x, y, p, kind } = problem;
  const fold = random.shuffle(Uint8Array.from(y, (_, u) => u % FOLDS));
  const predicted = new Float64Array(y.length);
  for (let f = 0; f < FOLDS; f++) {
    const beta = fit(
      problem,
      Float64Array.from(fold, (of) => Number(of !== f)),
    );
    for (let u = 0; u < y.length; u++) {
      if (fold[u] !== f) continue;
      let eta = beta[p] as number;
      for (let r = 0; r < p; r++) eta += (beta[r] as number) * (x[u * p + r] as number);
      predicted[u] = eta;
    }
  }
  if (kind === 'linear') return 1 - y.reduce((sum, value, u) => sum + (value - (predicted[u] as number)) ** 2, 0) / y.length;
  return areaUnderCurve(predicted, y);
}

/** The probability that a 1 is placed above a 0; ties count half. */
function areaUnderCurve(scores: Float64Array, y: Float64Array): number {
  const order = Uint32Array.from(scores.keys()).sort((a, b) => (scores[a] as number) - (scores[b] as number));
  const ones = y.reduce((sum, value) => sum + value, 0);
  let ranks = 0;
  for (let from = 0; from < order.length; ) {
    let end = from;
    while (end < order.length && scores[order[end] as number] === scores[order[from] as number]) end++;
    for (let i = from; i < end; i++) ranks += y[order[i] as number] === 1 ? (from + 1 + end) / 2 : 0;
    from = end;
  }
  return (ranks - (ones * (ones + 1)) / 2) / (ones * (y.length - ones));
}
