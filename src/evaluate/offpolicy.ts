/**
 * Off-policy evaluation: what a policy would have earned, from a log in which another policy chose the experts and
 * wrote down with what probability μ it did.
 *
 *     w_i   = π(e_i | C_i) / μ_i
 *     IPS   = 1/n Σ w_i·y_i            unbiased where μ > 0 wherever π > 0 (Horvitz & Thompson, 1952)
 *     SNIPS = Σ w_i·y_i / Σ w_i        self-normalised: little bias, far less variance (Swaminathan & Joachims,
 *                                      The self-normalized estimator for counterfactual learning, NeurIPS 2015)
 *     ESS   = (Σ w_i)² / Σ w_i²        how many outcomes the estimate rests on (Kish, Survey Sampling, 1965)
 *
 * The weights average 1 where the propensities are true and the log tries all that the policy chooses; far from it, no estimate
 * holds.
 *
 * Trust an estimate only with a large effective sample: a policy that rarely chooses what was logged has none.
 */
import { checkOptions, PointsmanError } from '../errors.js';
import { Random } from '../random.js';
import type { MetricName, Objective, OutcomeTable } from '../types.js';
import { bestSingleExpert } from './baselines.js';
import { interval, resample } from './bootstrap.js';
import type { Estimate, EvaluateOptions, Fit } from './contract.js';
import { groupFolds, groupOf, knownOf, selectConversations } from './table.js';

/** What a log says of a policy's value. */
export interface ValueEstimate {
  ips: Estimate;
  snips: Estimate;
  effectiveSampleSize: number;
  maxWeight: number;
  /** 1/n Σ w_i: 1 but for chance, if the propensities are true and nothing that the policy chooses was never tried. */
  meanWeight: Estimate;
  /** Records with the outcome. */
  records: number;
  /** Those of which the policy could have chosen the same expert. */
  matched: number;
}

/** One number a record in every array. */
export interface WeighedLog {
  /** NaN where the outcome was not observed: the record is left out. */
  outcome: ArrayLike<number>;
  /** μ, in (0, 1]. */
  logged: ArrayLike<number>;
  /** π of the expert that was logged. */
  target: ArrayLike<number>;
  /** Records of one group are resampled together. Default: each for itself. */
  group?: ArrayLike<number> | undefined;
}

/** IPS and SNIPS with 95% intervals. @throws PointsmanError BAD_ARGUMENT, NOT_ENOUGH_DATA */
export function estimateValue(
  log: WeighedLog,
  options: { replicates?: number | undefined; seed?: number | undefined } = {},
): ValueEstimate {
  const used: number[] = [];
  for (let i = 0; i < log.outcome.length; i++) {
    const [mu, pi] = [log.logged[i] as number, log.target[i] as number];
    if (!(mu > 0 && mu <= 1)) throw new PointsmanError('BAD_ARGUMENT', `the logged propensity of record ${i} must be in (0, 1], not ${mu}`);
    if (!(pi >= 0 && pi <= 1 + 1e-9))
      throw new PointsmanError('BAD_ARGUMENT', `the target propensity of record ${i} must be in [0, 1], not ${pi}`);
    if (!Number.isNaN(log.outcome[i])) used.push(i);
  }
  if (used.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'no record has the outcome');
  const weight = Float64Array.from(used, (i) => (log.target[i] as number) / (log.logged[i] as number));
  const weighted = weight.map((w, n) => w * (log.outcome[used[n] as number] as number));
  const group = used.map((i) => (log.group ? (log.group[i] as number) : i));
  const { ips, snips, mean } = resample(
    { ips: { numerator: weighted }, mean: { numerator: weight }, snips: { numerator: weighted, denominator: weight } },
    { group },
    options,
  );
  const sum = weight.reduce((total, w) => total + w, 0);
  const squares = weight.reduce((total, w) => total + w * w, 0);
  return {
    ips: interval(ips),
    snips: interval(snips),
    effectiveSampleSize: squares > 0 ? (sum * sum) / squares : 0,
    maxWeight: weight.reduce((top, w) => Math.max(top, w), 0),
    meanWeight: interval(mean),
    records: used.length,
    matched: weight.reduce((total, w) => total + (w > 0 ? 1 : 0), 0),
  };
}

export interface LogOptions extends EvaluateOptions {
  folds?: number | undefined;
  /** The single best expert is chosen by this metric. Default: the first of score, rating, retry, length in the data. */
  metric?: MetricName | undefined;
  /** Adds `utility` = Σ α_r·(y_r − mean_r)/sd_r over the log, where all of these metrics were observed. */
  objective?: Objective | undefined;
}

/** The value of a learned policy and of its baselines, by metric, from the log alone. */
export interface LogEvaluation {
  protocol: string;
  records: number;
  /** Records without a propensity: learned from, not evaluated on. */
  withoutPropensity: number;
  conversations: number;
  experts: number;
  seeds: number[];
  metric: MetricName;
  /** By metric and `utility`; `logged` is what the log itself earned. */
  values: { [metric: string]: { router: ValueEstimate; bestSingle: ValueEstimate; random: ValueEstimate; logged: Estimate } };
  bestSingleExperts: { [expert: string]: number };
  /** What makes the estimates doubtful, in words. */
  warnings: string[];
}

/**
 * Cross-validation on a log: each record is weighed by a policy that never saw its conversation's group. With several
 * seeds π is the mean over the policies, that is, the value of choosing among them at random.
 * @throws PointsmanError NOT_ENOUGH_DATA, BAD_ARGUMENT, ABORTED
 */
export async function evaluateLog(table: OutcomeTable, fit: Fit, options: LogOptions = {}): Promise<LogEvaluation> {
  const { folds = 5, seeds = [0], replicates, signal, onProgress } = checkOptions(options, undefined, 'evaluateLog');
  const present = (['score', 'rating', 'retry', 'length'] as const).filter((metric) => table.metrics[metric]);
  const metric = options.metric ?? present[0];
  if (metric === undefined) throw new PointsmanError('NOT_ENOUGH_DATA', 'the log has no outcomes');
  const records = [...table.conversation.keys()].filter((n) => (table.propensity?.[n] ?? Number.NaN) > 0);
  if (records.length === 0) {
    throw new PointsmanError('NOT_ENOUGH_DATA', 'no record has a propensity, without which a log says nothing about another policy');
  }
  const size = table.experts.length;
  const router = new Float64Array(table.conversation.length);
  const single = new Float64Array(table.conversation.length);
  const singles: { [expert: string]: number } = {};
  for (const [s, seed] of seeds.entries()) {
    const foldOf = groupFolds(table, folds, new Random(seed));
    for (let fold = 0; fold < folds; fold++) {
      onProgress?.({ stage: 'evaluate', done: s * folds + fold, total: seeds.length * folds });
      const training = selectConversations(table, (c) => foldOf[c] !== fold);
      const best = bestSingleExpert(training, metric);
      const name = table.experts[best] as string;
      singles[name] = (singles[name] ?? 0) + 1;
      const policy = await fit(training, { seed, signal, onProgress });
      const tested = table.conversations.flatMap((_, c) => (foldOf[c] === fold ? [c] : []));
      const choices = await policy(
        tested.map((c) => table.conversations[c] ?? []),
        { attributes: tested.map((c) => knownOf(table, c)), signal },
      );
      const rowOf = new Map(tested.map((c, row) => [c, row]));
      for (const n of records) {
        const row = rowOf.get(table.conversation[n] as number);
        if (row === undefined) continue;
        const e = table.expert[n] as number;
        const chosen = choices[row]?.find(({ expert }) => expert === table.experts[e]);
        router[n] = (router[n] as number) + (chosen?.probability ?? 0) / seeds.length;
        if (e === best) single[n] = (single[n] as number) + 1 / seeds.length;
      }
    }
  }
  onProgress?.({ stage: 'evaluate', done: seeds.length * folds, total: seeds.length * folds });

  const of = (values: ArrayLike<number>) => records.map((n) => values[n] as number);
  const logged = of(table.propensity ?? []);
  const group = records.map((n) => groupOf(table, table.conversation[n] as number));
  const columns: [string, ArrayLike<number>][] = present.map((name) => [name, table.metrics[name] as Float32Array]);
  if (options.objective) columns.push(['utility', utility(table, options.objective)]);
  const values: LogEvaluation['values'] = {};
  for (const [name, column] of columns) {
    const outcome = of(column);
    const estimate = (target: number[]) => estimateValue({ outcome, logged, target, group }, { replicates });
    const observed = [...outcome.keys()].filter((i) => !Number.isNaN(outcome[i]));
    if (observed.length === 0) continue;
    const plain = { numerator: Float64Array.from(observed, (i) => outcome[i] as number) };
    values[name] = {
      router: estimate(of(router)),
      bestSingle: estimate(of(single)),
      random: estimate(records.map(() => 1 / size)),
      logged: interval(resample({ plain }, { group: observed.map((i) => group[i] as number) }, { replicates }).plain),
    };
  }
  return {
    protocol: `off-policy, ${folds}-fold cross-validation`,
    records: records.length,
    withoutPropensity: table.conversation.length - records.length,
    conversations: table.conversations.length,
    experts: size,
    seeds: [...seeds],
    metric,
    values,
    bestSingleExperts: singles,
    warnings: warningsOf(values),
  };
}

/** How far from 1 a mean weight may be whatever its interval: intervals of heavy tails are too narrow. */
const TOLERANCE = 0.1;

function warningsOf(values: LogEvaluation['values']): string[] {
  const [first] = Object.values(values); // the weights of the other metrics differ only where outcomes are missing
  if (!first) return [];
  const names = { router: 'the router', bestSingle: 'the best single expert', random: 'random choice' } as const;
  const policies = ['router', 'bestSingle', 'random'] as const;
  const far = policies.filter((policy) => {
    const { mean, low, high } = first[policy].meanWeight;
    const above = mean - 1 > TOLERANCE && mean - 2 * (mean - low) > 1;
    // A log need not have tried every expert; only of the router's own choices is that worth a warning.
    const below = policy === 'router' && 1 - mean > TOLERANCE && mean + 2 * (high - mean) < 1;
    return above || below;
  });
  if (far.length === 0) return [];
  const means = far.map((policy) => `${first[policy].meanWeight.mean.toFixed(2)} for ${names[policy]}`).join(', ');
  const tooLow = far.every((policy) => first[policy].meanWeight.mean < 1);
  return [
    `The weights of a true log average 1, here ${means}: the propensities are not the probabilities with which the experts were ` +
      `chosen${tooLow ? ', or the log never tried some that the router chooses' : ''}. The estimates do not hold.`,
  ];
}

function utility(table: OutcomeTable, objective: Objective): Float64Array {
  const sum = new Float64Array(table.conversation.length);
  for (const [metric, weight] of Object.entries(objective) as [MetricName, number][]) {
    const column = table.metrics[metric];
    if (!column) throw new PointsmanError('BAD_OBJECTIVE', `the data has no metric '${metric}'`);
    const seen = column.filter((y) => !Number.isNaN(y));
    const mean = seen.reduce((total, y) => total + y, 0) / seen.length;
    const deviation = Math.sqrt(seen.reduce((total, y) => total + (y - mean) ** 2, 0) / seen.length) || 1;
    for (const [n, y] of column.entries()) sum[n] = (sum[n] as number) + (weight * (y - mean)) / deviation;
  }
  return sum;
}
