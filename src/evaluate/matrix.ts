/**
 * Evaluation on outcome matrices, where every expert's outcome of every test conversation is known, so that any
 * choice can be valued: the value of a policy on a conversation is Σ_e π(e | C)·y(e, C).
 *
 * - cross-validation: groups of near-duplicates stay within one fold; each conversation is routed by a model that
 *   never saw its group; the mean is over conversations.
 * - train → test: by the data's own split; the mean is over categories (macro) where the data names them.
 *
 * Either may learn from a log drawn from the training part (one random expert's outcome a conversation); the truth
 * on the test part stays the full matrix. The best single expert is always chosen on what the learner sees, by the
 * same mean, macro or not.
 */
import { checkOptions, PointsmanError } from '../errors.js';
import { Random } from '../random.js';
import type { MetricName, OutcomeTable } from '../types.js';
import { bestSingleExpert, outcomeMatrix } from './baselines.js';
import { type Column, interval, resample } from './bootstrap.js';
import type { Choice, Estimate, EvaluateOptions, Fit } from './contract.js';
import { drawLog, groupFolds, groupOf, knownOf, selectConversations } from './table.js';

export interface MatrixOptions extends EvaluateOptions {
  /** What is maximised (`retry`: minimised). Default `score`. */
  metric?: MetricName | undefined;
  /** Learn from one random expert's outcome per training conversation; every seed draws another log. */
  log?: boolean | undefined;
}

/** How a policy did beside its baselines. Values are means over seeds; intervals are over conversations. */
export interface MatrixEvaluation {
  protocol: string;
  metric: MetricName;
  conversations: number;
  /** Test conversations that lack some expert's outcome and were left out. */
  incomplete: number;
  experts: number;
  groups: number;
  seeds: number[];
  router: Estimate;
  bestSingle: Estimate;
  random: Estimate;
  oracle: Estimate;
  /** router − bestSingle, paired. */
  gain: Estimate;
  /** The router's mean by seed: how much folds, draws and fits matter. */
  bySeed: number[];
  byCategory: { category: string; conversations: number; router: number; bestSingle: number; random: number; oracle: number }[];
  /** How often each expert was the best single one of a training part. */
  bestSingleExperts: { [expert: string]: number };
  /** Share of the test conversations that went to each expert. */
  shares: { [expert: string]: number };
}

/** One fit: what it may see, and the conversations that it is tested on. */
interface Trial {
  seed: number;
  training: OutcomeTable;
  test: (conversation: number) => boolean;
}

/** Cross-validation by conversation. @throws PointsmanError BAD_ARGUMENT, NOT_ENOUGH_DATA, ABORTED */
export async function crossValidate(
  table: OutcomeTable,
  fit: Fit,
  options: MatrixOptions & { folds?: number | undefined } = {},
): Promise<MatrixEvaluation> {
  const { folds = 5 } = checkOptions(options, undefined, 'crossValidate');
  const trials = seedsOf(options).flatMap((seed): (() => Trial)[] => {
    const foldOf = groupFolds(table, folds, new Random(seed));
    return Array.from({ length: folds }, (_, fold) => () => ({
      seed,
      training: selectConversations(table, (c) => foldOf[c] !== fold),
      test: (c) => foldOf[c] === fold,
    }));
  });
  const name = options.log ? `log, ${folds}-fold cross-validation` : `${folds}-fold cross-validation`;
  return evaluate(table, fit, trials, name, undefined, options);
}

/** Train → test. @throws PointsmanError BAD_ARGUMENT, NOT_ENOUGH_DATA, ABORTED */
export async function trainTest(
  table: OutcomeTable,
  fit: Fit,
  options: MatrixOptions & { train?: string | undefined; test?: string | undefined } = {},
): Promise<MatrixEvaluation> {
  const { train = 'train', test = 'test' } = checkOptions(options, undefined, 'trainTest');
  const split = table.split;
  const named = [...new Set(split)].join(', ');
  if (!split) throw new PointsmanError('BAD_ARGUMENT', 'the data names no split: use cross-validation');
  for (const part of [train, test]) {
    if (!split.includes(part)) throw new PointsmanError('BAD_ARGUMENT', `the data has no split '${part}'; it has ${named}`);
  }
  const training = selectConversations(table, (c) => split[c] === train);
  const trials = seedsOf(options).map((seed) => () => ({ seed, training, test: (c: number) => split[c] === test }));
  const categories = table.category;
  const labels = [...new Set(categories?.filter((_, c) => split[c] === test))];
  const stratum = categories && labels.length > 1 ? categories.map((category) => labels.indexOf(category)) : undefined;
  const name = `${train} → ${test}${stratum ? `, macro mean over ${labels.length} categories` : ''}`;
  return evaluate(table, fit, trials, options.log ? `log, ${name}` : name, stratum, options);
}

async function evaluate(
  table: OutcomeTable,
  fit: Fit,
  trials: readonly (() => Trial)[],
  protocol: string,
  stratumOf: readonly number[] | undefined,
  options: MatrixOptions,
): Promise<MatrixEvaluation> {
  const { metric = 'score', log = false, replicates, signal, onProgress } = options;
  const sign = metric === 'retry' ? -1 : 1;
  const { rows, values } = outcomeMatrix(table, metric);
  const size = table.experts.length;
  const numberOf = new Map(table.experts.map((expert, e) => [expert, e]));
  const seeds = seedsOf(options);

  // By row, summed over the seeds; each row is tested once a seed or never.
  const router = new Float64Array(rows.length);
  const single = new Float64Array(rows.length);
  const tested = new Uint8Array(rows.length);
  const bySeed = new Map(seeds.map((seed) => [seed, new Float64Array(rows.length)]));
  const share = new Float64Array(size);
  const singles: { [expert: string]: number } = {};
  let incomplete = 0;

  for (const [done, start] of trials.entries()) {
    onProgress?.({ stage: 'evaluate', done, total: trials.length });
    const { seed, training: whole, test } = start();
    const training = log ? drawLog(whole, metric, new Random(seed * 1_000_003 + done)) : whole; // each fit its own draw
    const candidates = [...rows.keys()].filter((row) => test(rows[row] as number));
    if (done < trials.length / seeds.length) {
      incomplete += table.conversations.reduce((sum, _, c) => sum + (test(c) ? 1 : 0), 0) - candidates.length;
    }
    if (candidates.length === 0) continue;
    const best = bestSingleExpert(training, metric, { macro: stratumOf !== undefined });
    const name = table.experts[best] as string;
    singles[name] = (singles[name] ?? 0) + 1;
    const policy = await fit(training, { seed, signal, onProgress });
    const choices = await policy(
      candidates.map((row) => table.conversations[rows[row] as number] ?? []),
      { attributes: candidates.map((row) => knownOf(table, rows[row] as number)), signal },
    );
    for (const [n, row] of candidates.entries()) {
      const value = policyValue(choices[n] ?? [], numberOf, (e, p) => {
        share[e] = (share[e] as number) + p;
        return values[row * size + e] as number;
      });
      router[row] = (router[row] as number) + value;
      (bySeed.get(seed) as Float64Array)[row] = value;
      single[row] = (single[row] as number) + (values[row * size + best] as number);
      tested[row] = 1;
    }
  }
  onProgress?.({ stage: 'evaluate', done: trials.length, total: trials.length });

  const used = [...rows.keys()].filter((row) => tested[row]);
  if (used.length === 0) {
    throw new PointsmanError(
      'NOT_ENOUGH_DATA',
      `no test conversation has every expert's outcome of ${metric}: evaluate a log by propensities instead`,
    );
  }
  const column = (of: (row: number) => number): Column => ({ numerator: Float64Array.from(used, of) });
  const outcomes = (row: number) => values.subarray(row * size, (row + 1) * size);
  const columns = {
    router: column((row) => (router[row] as number) / seeds.length),
    single: column((row) => (single[row] as number) / seeds.length),
    random: column((row) => outcomes(row).reduce((sum, y) => sum + y, 0) / size),
    oracle: column((row) => sign * outcomes(row).reduce((top, y) => Math.max(top, sign * y), Number.NEGATIVE_INFINITY)),
  };
  const units = {
    group: used.map((row) => groupOf(table, rows[row] as number)),
    stratum: stratumOf && used.map((row) => stratumOf[rows[row] as number] as number),
  };
  const resampled = resample(columns, units, { replicates });
  const seedColumns = Object.fromEntries([...bySeed].map(([seed, of]) => [seed, column((row) => of[row] as number)]));
  const seedMeans = resample(seedColumns, units, { replicates: 0 });
  const total = share.reduce((sum, n) => sum + n, 0);
  return {
    protocol,
    metric,
    conversations: used.length,
    incomplete,
    experts: size,
    groups: new Set(units.group).size,
    seeds: [...seeds],
    router: interval(resampled.router),
    bestSingle: interval(resampled.single),
    random: interval(resampled.random),
    oracle: interval(resampled.oracle),
    gain: interval(resampled.router, resampled.single),
    bySeed: seeds.map((seed) => seedMeans[seed]?.mean ?? Number.NaN),
    byCategory: byCategory(
      table,
      used.map((row) => rows[row] as number),
      columns,
    ),
    bestSingleExperts: singles,
    shares: Object.fromEntries(table.experts.map((expert, e) => [expert, (share[e] as number) / total])),
  };
}

function policyValue(
  choices: readonly Choice[],
  numberOf: ReadonlyMap<string, number>,
  outcome: (expert: number, probability: number) => number,
): number {
  let value = 0;
  let mass = 0;
  for (const { expert, probability } of choices) {
    if (probability === 0) continue;
    const e = numberOf.get(expert);
    if (e === undefined) throw new PointsmanError('UNKNOWN_EXPERT', `the policy chose ${expert}, which the data does not know`);
    value += probability * outcome(e, probability);
    mass += probability;
  }
  if (Math.abs(mass - 1) > 1e-6) throw new PointsmanError('BAD_ARGUMENT', `the probabilities of a policy sum to ${mass}, not 1`);
  return value;
}

function byCategory(
  table: OutcomeTable,
  conversations: readonly number[],
  columns: { readonly [name in 'router' | 'single' | 'random' | 'oracle']: Column },
): MatrixEvaluation['byCategory'] {
  const members = new Map<string, number[]>();
  for (const [n, c] of conversations.entries()) {
    const category = table.category?.[c] ?? '';
    const list = members.get(category);
    if (list) list.push(n);
    else members.set(category, [n]);
  }
  if (members.size < 2) return [];
  return [...members]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([category, list]) => {
      const mean = (column: Column) => list.reduce((sum, n) => sum + (column.numerator[n] as number), 0) / list.length;
      return {
        category,
        conversations: list.length,
        router: mean(columns.router),
        bestSingle: mean(columns.single),
        random: mean(columns.random),
        oracle: mean(columns.oracle),
      };
    });
}

function seedsOf({ seeds = [0, 1, 2, 3, 4] }: MatrixOptions): readonly number[] {
  if (seeds.length === 0 || seeds.some((seed) => !Number.isSafeInteger(seed)) || new Set(seeds).size < seeds.length) {
    throw new PointsmanError('BAD_ARGUMENT', 'seeds must be different integers, at least one');
  }
  return seeds;
}
