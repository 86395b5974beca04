/**
 * Learning that goes on, beside learning anew: outcomes stream in one by one, experts join one after another, and after every
 * thousand outcomes both learners route held-out conversations, of which every expert's outcome is known.
 *
 * The stream is a log of random choices among the experts that are there. Values are means over held-out conversations and seeds;
 * intervals are paired, over groups of near-duplicates, which stay together over seeds as well.
 */
import { PointsmanError } from '../errors.js';
import { Random } from '../random.js';
import type { MetricName, OutcomeTable, TaskOptions } from '../types.js';
import { outcomeMatrix } from './baselines.js';
import { interval, resample } from './bootstrap.js';
import type { Choice, Estimate, EvaluateOptions, Fit, RoutingPolicy } from './contract.js';
import { groupFolds, groupOf, knownOf, selectRecords } from './table.js';

/** Begins with a log; the policy routes by what has been heard until it is called. */
export type GoingOn = (
  first: OutcomeTable,
  options: TaskOptions & { seed: number },
) => Promise<{
  policy: RoutingPolicy;
  /** @param outcomes the new ones @param all with those before them @returns whether a model was learned anew from all of them */
  update(outcomes: OutcomeTable, newcomers: readonly string[], all: OutcomeTable): Promise<{ learnedAnew: boolean }>;
}>;

export interface OnlineEvaluation {
  protocol: string;
  metric: MetricName;
  seeds: number[];
  conversations: number;
  /**
   * By number of outcomes; means over seeds of held-out values, and of the best expert of each held-out conversation among those that
   * are there. `difference` is by what share going on is better than learning anew, `learnedAnew` the share of seeds where it did so, too.
   */
  curve: {
    outcomes: number;
    experts: number;
    online: number;
    retrained: number;
    oracle: number;
    difference: Estimate;
    learnedAnew: number;
  }[];
  /** The largest share by which going on falls behind learning anew, over the curve. */
  worst: number;
  /** What was lost to the oracle, summed over the curve: of going on by that of learning anew, less 1. */
  regret: number;
}

export interface OnlineEvaluationOptions extends EvaluateOptions {
  /** Outcomes before the first model, and between two points of the curve. Default 1,000. */
  every?: number | undefined;
  /** Points of the curve. Default 8. */
  points?: number | undefined;
}

/** @throws PointsmanError NOT_ENOUGH_DATA, BAD_ARGUMENT, ABORTED */
export async function evaluateOnline(
  table: OutcomeTable,
  goOn: GoingOn,
  anew: Fit,
  options: OnlineEvaluationOptions = {},
): Promise<OnlineEvaluation> {
  const { seeds = [0, 1, 2], every = 1000, points = 8, replicates, signal, onProgress } = options;
  const metric: MetricName = 'score';
  const { rows, values } = outcomeMatrix(table, metric);
  const size = table.experts.length;
  if (rows.length < 10 || size < 3) throw new PointsmanError('NOT_ENOUGH_DATA', 'a matrix of at least three experts is needed');
  const numberOf = new Map(table.experts.map((expert, e) => [expert, e]));
  /** Of every held-out conversation and seed. */
  const curve = Array.from({ length: points + 1 }, () => ({
    experts: 0,
    learnedAnew: 0,
    group: [] as number[],
    online: [] as number[],
    retrained: [] as number[],
    oracle: [] as number[],
  }));
  let tested = 0;
  for (const [s, seed] of seeds.entries()) {
    const random = new Random(seed);
    const fold = groupFolds(table, 5, random);
    const held = [...rows.keys()].filter((row) => fold[rows[row] as number] === 0);
    tested = held.length;
    const order = random.shuffle(Uint32Array.from({ length: size }, (_, e) => e));
    const [stream, present] = streamOf(table, fold, order, random, every, points);
    const heard = (count: number) => selectRecords(table, inOrder(stream.subarray(0, count)));
    const learner = await goOn(heard(every), { seed, signal });
    for (const [i, point] of curve.entries()) {
      onProgress?.({ stage: 'evaluate', done: s * curve.length + i, total: seeds.length * curve.length });
      if (i > 0) {
        const part = stream.subarray(i * every, (i + 1) * every);
        const joined = [...order.subarray(present[i - 1], present[i])].map((e) => table.experts[e] as string);
        const { learnedAnew } = await learner.update(selectRecords(table, inOrder(part)), joined, heard((i + 1) * every));
        if (learnedAnew) point.learnedAnew += 1 / seeds.length;
      }
      const here = new Set(order.subarray(0, present[i]));
      point.experts = here.size;
      const value = async (policy: RoutingPolicy) => {
        const asked = held.map((row) => rows[row] as number);
        const choices = await policy(
          asked.map((c) => table.conversations[c] ?? []),
          { attributes: asked.map((c) => knownOf(table, c)), signal },
        );
        return held.map((row, h) => worth(choices[h] ?? [], (e) => values[row * size + (numberOf.get(e) as number)] as number));
      };
      point.online.push(...(await value(learner.policy)));
      point.retrained.push(...(await value(await anew(heard((i + 1) * every), { seed, signal }))));
      point.oracle.push(...held.map((row) => [...here].reduce((top, e) => Math.max(top, values[row * size + e] as number), 0)));
      point.group.push(...held.map((row) => groupOf(table, rows[row] as number)));
    }
  }
  const measured = curve.map(({ experts, learnedAnew, group, ...columns }, i) => {
    const of = (values: number[]) => ({ numerator: Float64Array.from(values) });
    const lost = columns.online.map((value, n) => value - (columns.retrained[n] as number));
    const share = { numerator: Float64Array.from(lost), denominator: Float64Array.from(columns.retrained) };
    const found = resample(
      { online: of(columns.online), retrained: of(columns.retrained), oracle: of(columns.oracle), share },
      { group },
      { replicates },
    );
    const { online, retrained, oracle } = found;
    return {
      outcomes: (i + 1) * every,
      experts,
      online: online.mean,
      retrained: retrained.mean,
      oracle: oracle.mean,
      difference: interval(found.share),
      learnedAnew,
    };
  });
  const regret = (of: 'online' | 'retrained') => measured.reduce((sum, point) => sum + point.oracle - point[of], 0);
  return {
    protocol: `online: experts join one by one, learning anew after every ${every} outcomes`,
    metric,
    seeds: [...seeds],
    conversations: tested,
    curve: measured,
    worst: measured.reduce((worst, { difference }) => Math.max(worst, -difference.mean), Number.NEGATIVE_INFINITY),
    regret: regret('online') / regret('retrained') - 1,
  };
}

function worth(choices: readonly Choice[], outcome: (expert: string) => number): number {
  return choices.reduce((sum, { expert, probability }) => sum + probability * outcome(expert), 0);
}

/** Records in the order of the stream, and how many of `order` are there at each point: half at first, all at the last. */
function streamOf(
  table: OutcomeTable,
  fold: Uint32Array,
  order: Uint32Array,
  random: Random,
  every: number,
  points: number,
): [Uint32Array, number[]] {
  const rank = new Uint32Array(order.length);
  for (const [place, e] of order.entries()) rank[e] = place;
  const size = order.length;
  const present = Array.from({ length: points + 1 }, (_, i) => Math.ceil(size / 2) + Math.round((Math.floor(size / 2) * i) / points));
  const left = random.shuffle(Uint32Array.from([...table.conversation.keys()].filter((n) => fold[table.conversation[n] as number] !== 0)));
  const used = new Uint8Array(table.conversation.length);
  const stream: number[] = [];
  for (const [i, experts] of present.entries()) {
    for (const n of left) {
      if (stream.length === (i + 1) * every) break;
      if (used[n] || (rank[table.expert[n] as number] as number) >= experts) continue;
      used[n] = 1;
      stream.push(n);
    }
    if (stream.length < (i + 1) * every) {
      throw new PointsmanError('NOT_ENOUGH_DATA', `the matrix has too few outcomes for ${points + 1} × ${every} of them`);
    }
  }
  return [Uint32Array.from(stream), present];
}

function inOrder(records: Uint32Array): (record: number) => boolean {
  const kept = new Set(records);
  return (record) => kept.has(record);
}
