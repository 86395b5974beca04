/**
 * Policies: which of the candidates answers, and with what probability it was chosen.
 *
 * ε-greedy over the best n (Sutton & Barto, Reinforcement Learning, §2.2): with probability 1 − ε the best, with
 * probability ε one of the n at random, the best included. So
 *
 *     propensity(best) = 1 − ε + ε/n,   propensity(another of the n) = ε/n,   propensity(the rest) = 0,
 *
 * which is what an off-policy estimate divides by: n is the number that takes part, not the number asked for.
 */
import { PointsmanError } from '../errors.js';
import type { Random } from '../random.js';
import type { Explore, Policy } from './contract.js';

/** @throws PointsmanError BAD_ARGUMENT */
export function checkPolicy(explore: Explore | undefined, k: number): Policy {
  if (explore === undefined) return { name: 'greedy' };
  const { epsilon, among = k } = explore;
  if (typeof epsilon !== 'number' || !(epsilon >= 0 && epsilon <= 1)) {
    throw new PointsmanError('BAD_ARGUMENT', `explore.epsilon must be a number from 0 to 1, not ${String(epsilon)}`);
  }
  if (!Number.isInteger(among) || among < 1 || among > 4096) {
    throw new PointsmanError('BAD_ARGUMENT', `explore.among must be an integer from 1 to 4096, not ${String(among)}`);
  }
  return { name: 'epsilon-greedy', epsilon, among };
}

/** Probabilities of `count` candidates, best first. */
export function propensities(policy: Policy, count: number): number[] {
  const epsilon = policy.name === 'greedy' ? 0 : policy.epsilon;
  const taking = policy.name === 'greedy' ? 1 : Math.min(policy.among, count);
  return Array.from({ length: count }, (_, rank) => {
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
