/**
 * Ranking one held-out item among others that the user has not met: the leave-one-out protocol of He et al., Neural
 * collaborative filtering, WWW 2017. With r the place of the positive, from 1:
 *
 *     HR@n = 1 if r ≤ n        NDCG@n = 1 / log2(1 + r) if r ≤ n        else 0, averaged over users, or over users by weight
 *
 * Ties count against: r is one more than the number of others that score as high or higher. A score that is not a number
 * is a fault of the scorer and an error.
 */
import { PointsmanError } from '../errors.js';
import type { TaskOptions } from '../types.js';
import { interval, resample } from './bootstrap.js';
import type { Estimate } from './contract.js';

/** One user's question: the items by number, the held-out one first. */
export interface RankingCase {
  user: number;
  items: Uint32Array;
  /** How much the case counts, > 0. Default 1. */
  weight?: number | undefined;
}

/** Scores of the items for the user, in their order. */
export type RankingScorer = (user: number, items: Uint32Array) => ArrayLike<number>;

export interface RankingOptions extends TaskOptions {
  /** n. Default 10. */
  cutoff?: number | undefined;
  /** Resamples of the bootstrap over users. Default 2,000. */
  replicates?: number | undefined;
}

export interface RankingResult {
  hitRate: Estimate;
  ndcg: Estimate;
  /** Each scorer alone. */
  bySeed: { hitRate: number; ndcg: number }[];
}

/** The mean over scorers (one for each seed) of the mean over cases, with its interval over cases. */
export function rankingResult(
  cases: readonly RankingCase[],
  scorers: readonly RankingScorer[],
  { cutoff = 10, replicates, signal, onProgress }: RankingOptions = {},
): RankingResult {
  if (cases.length === 0 || scorers.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'there is nothing to rank');
  if (!Number.isInteger(cutoff) || cutoff < 1)
    throw new PointsmanError('BAD_ARGUMENT', `cutoff must be an integer of at least 1, not ${cutoff}`);
  const weight = Float64Array.from(cases, (each) => each.weight ?? 1);
  if (!weight.every((w) => w > 0 && w < Number.POSITIVE_INFINITY))
    throw new PointsmanError('BAD_ARGUMENT', 'weights of cases must be finite and above 0');
  const total = weight.reduce((sum, w) => sum + w, 0);
  const hit = new Float64Array(cases.length);
  const gain = new Float64Array(cases.length);
  const bySeed: RankingResult['bySeed'] = [];
  for (const [s, scorer] of scorers.entries()) {
    const sum = { hitRate: 0, ndcg: 0 };
    for (const [c, { user, items }] of cases.entries()) {
      if (c % 1024 === 0 && signal?.aborted) throw new PointsmanError('ABORTED', 'ranking was aborted', { cause: signal.reason });
      const rank = rankOfFirst(scorer(user, items), items.length);
      if (rank > cutoff) continue;
      const [worth, discount] = [weight[c] as number, 1 / Math.log2(1 + rank)];
      hit[c] = (hit[c] as number) + worth / scorers.length;
      gain[c] = (gain[c] as number) + (worth * discount) / scorers.length;
      sum.hitRate += worth / total;
      sum.ndcg += (worth * discount) / total;
    }
    bySeed.push(sum);
    onProgress?.({ stage: 'rank', done: s + 1, total: scorers.length });
  }
  const users = { group: Uint32Array.from(cases, ({ user }) => user) };
  const found = resample({ hitRate: { numerator: hit, denominator: weight }, ndcg: { numerator: gain, denominator: weight } }, users, {
    replicates,
  });
  return { hitRate: interval(found.hitRate), ndcg: interval(found.ndcg), bySeed };
}

/** The place of the first item, from 1. */
function rankOfFirst(scores: ArrayLike<number>, count: number): number {
  const own = scores[0] as number;
  let rank = 1;
  for (let i = 0; i < count; i++) {
    if (!Number.isFinite(scores[i])) throw new PointsmanError('NOT_FINITE', 'a score is missing or not a finite number');
    if (i > 0 && (scores[i] as number) >= own) rank++;
  }
  return rank;
}
