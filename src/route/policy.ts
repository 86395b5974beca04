/**
 * Policies: which of the candidates answers, and with what probability it was chosen.
 *
 * ε-greedy over the best n (Sutton & Barto, Reinforcement Learning, §2.2): with probability 1 − ε the best, with
 * probability ε one of the n at random, the best included. So
 *
 *     propensity(best) = 1 − ε + ε/n,   propensity(another of the n) = ε/n,   propensity(the rest) = 0,
 *
 * which is what an off-policy estimate divides by: n is the number that takes part, not the number asked for.
 *
 * Thompson sampling over the best n (thompson.ts): each with the probability that it is the best of them.
 */
import { PointsmanError } from '../errors.js';
import type { Random } from '../random.js';
import type { Explore, Policy } from './contract.js';
import { probabilitiesOfBest } from './thompson.js';

/** @throws PointsmanError BAD_ARGUMENT */
export function checkPolicy(explore: Explore | undefined, k: number): Policy {
  if (explore === undefined) return { name: 'greedy' };
  if (explore === null || typeof explore !== 'object') {
    throw new PointsmanError('BAD_ARGUMENT', `explore must be { epsilon } or { policy: 'thompson' }, not ${String(explore)}`);
  }
  const { policy = 'epsilon-greedy', among = k, epsilon } = explore as { policy?: unknown; among?: number; epsilon?: number };
  if (policy !== 'thompson' && policy !== 'epsilon-greedy') {
    throw new PointsmanError('BAD_ARGUMENT', `explore.policy must be 'epsilon-greedy' or 'thompson', not ${String(policy)}`);
  }
  if (!Number.isInteger(among) || among < 1 || among > 4096) {
    throw new PointsmanError('BAD_ARGUMENT', `explore.among must be an integer from 1 to 4096, not ${String(among)}`);
  }
  if (policy === 'thompson') {
    if (epsilon !== undefined) throw new PointsmanError('BAD_ARGUMENT', 'explore takes an epsilon or thompson, not both');
    return { name: 'thompson', among };
  }
  if (typeof epsilon !== 'number' || !(epsilon >= 0 && epsilon <= 1)) {
    throw new PointsmanError('BAD_ARGUMENT', `explore.epsilon must be a number from 0 to 1, not ${String(epsilon)}`);
  }
  return { name: 'epsilon-greedy', epsilon, among };
}

/** Probabilities of the candidates, best first; those of a policy that asks for deviations have them. */
export function propensities(policy: Policy, candidates: readonly { score: number; deviation?: number }[]): number[] {
  const taking = policy.name === 'greedy' ? 1 : Math.min(policy.among, candidates.length);
  if (policy.name === 'thompson') {
    const part = candidates.slice(0, taking);
    const found = probabilitiesOfBest(
      part.map(({ score }) => score),
      part.map(({ deviation }) => deviation ?? 0),
    );
    return candidates.map((_, rank) => found[rank] ?? 0);
  }
  const epsilon = policy.name === 'greedy' ? 0 : policy.epsilon;
  return candidates.map((_, rank) => {
    if (rank >= taking) return 0;
    return rank === 0 ? 1 - epsilon + epsilon / taking : epsilon / taking;
  });
}

/** Draws a rank with the given probabilities, one random number a draw. */
export function draw(probabilities: readonly number[], random: Random): number {
  let left = random.uniform();
  let last = 0;
  for (const [rank, probability] of probabilities.entries()) {
    if (probability === 0) continue;
    last = rank;
    left -= probability;
    if (left < 0) break;
  }
  return last; // rounding may leave a little after the last one that can be drawn
}
