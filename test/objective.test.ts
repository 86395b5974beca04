import { describe, expect, it } from 'vitest';
import { type CohortUser, fitObjective } from '../src/learn/objective.js';
import { Random } from '../src/random.js';

/** Synthetic: users whose return follows known weights over retry, rating and length (on the scale of logarithms). */
function cohort(count: number, weights: { retry: number; rating: number; length: number }, seed: number, binary = true): CohortUser[] {
  const random = new Random(seed);
  const drawn = Array.from({ length: count }, (_, i) => ({
    user: `u${i}`,
    retry: random.uniform(),
    rating: 1 + 4 * random.uniform(),
    length: Math.floor(20 * random.uniform()),
  }));
  const unit = (of: (user: (typeof drawn)[number]) => number) => {
    const values = drawn.map(of);
    const mean = values.reduce((a, b) => a + b, 0) / count;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / count);
    return values.map((value) => (value - mean) / deviation);
  };
  const columns = { retry: unit((u) => u.retry), rating: unit((u) => u.rating), length: unit((u) => Math.log1p(u.length)) };
  return drawn.map(({ user, ...metrics }, i) => {
    const eta =
      0.2 +
      weights.retry * (columns.retry[i] as number) +
      weights.rating * (columns.rating[i] as number) +
      weights.length * (columns.length[i] as number);
    return { user, metrics, outcome: binary ? Number(random.uniform() < 1 / (1 + Math.exp(-eta))) : eta + random.uniform() };
  });
}

describe('fitObjective, on synthetic cohorts', () => {
  it('finds the weights behind a return, in natural signs, and leaves what has none open', () => {
    const truth = { retry: -0.9, rating: 0.5, length: 0 };
    const inside = { retry: 0, rating: 0, length: 0 };
    for (const seed of [1, 2, 3, 4, 5]) {
      const { weights, certain, quality, kind } = fitObjective(cohort(3000, truth, seed), { replicates: 200 });
      expect(kind).toBe('logistic');
      expect(quality).toBeGreaterThan(0.68);
      expect(weights.retry?.high).toBeLessThan(0);
      expect(weights.rating?.low).toBeGreaterThan(0);
      expect(certain).toHaveProperty('retry');
      for (const name of ['retry', 'rating', 'length'] as const) {
        const { low, high } = weights[name] as { low: number; high: number };
        inside[name] += Number(low <= truth[name] && truth[name] <= high);
      }
    }
    for (const count of Object.values(inside)) expect(count).toBeGreaterThanOrEqual(4); // of five 95% intervals
  });

  it('a metric that tells nothing has an interval over 0; an amount is regressed by least squares', () => {
    const { weights, objective, certain, kind, quality } = fitObjective(cohort(2000, { retry: -1, rating: 0, length: 0 }, 9, false), {
      replicates: 200,
    });
    expect(kind).toBe('linear');
    expect(quality).toBeGreaterThan(0.8);
    expect(weights.rating?.low).toBeLessThan(0);
    expect(weights.rating?.high).toBeGreaterThan(0);
    expect(Object.keys(certain ?? {})).toEqual(['retry']);
    expect(objective.retry).toBeLessThan(-0.9);
  });

  it('is the same again, and scales turn weights into those of answers', () => {
    const users = cohort(500, { retry: -1, rating: 0.3, length: 0.3 }, 3);
    const one = fitObjective(users, { replicates: 50 });
    expect(fitObjective(users, { replicates: 50 })).toEqual(one);
    const double = fitObjective(users, { replicates: 50, penalty: 1e-6, scales: { retry: 1 } });
    const own = fitObjective(users, { replicates: 50, penalty: 1e-6 });
    const deviation = 1 / Math.sqrt(12); // of a uniform number
    expect((double.weights.retry?.mean ?? 0) * deviation).toBeCloseTo(own.weights.retry?.mean ?? 1, 1);
  });

  it.each([
    [[{ user: '', metrics: {}, outcome: 1 }], 'BAD_DATA', /user must/],
    [[{ user: 'a', metrics: { stars: 3 }, outcome: 1 }], 'BAD_DATA', /no metric 'stars'/],
    [[{ user: 'a', metrics: { rating: 6 }, outcome: 1 }], 'BAD_DATA', /from 1 to 5/],
    [[{ user: 'a', metrics: { rating: Number.NaN }, outcome: 1 }], 'BAD_DATA', /from 1 to 5/],
    [[{ user: 'a', metrics: { rating: 3 }, outcome: Number.NaN }], 'BAD_DATA', /finite/],
    [[{ user: 'a', metrics: { rating: 3 }, outcome: 1 }], 'NOT_ENOUGH_DATA', /at least 20/],
    [[1, 2].map(() => ({ user: 'a', metrics: { rating: 3 }, outcome: 1 })), 'DUPLICATE_ID', /twice/],
    [
      Array.from({ length: 50 }, (_, i) => ({ user: `${i}`, metrics: { rating: 3 }, outcome: i % 2 })),
      'NOT_ENOUGH_DATA',
      /the same for every/,
    ],
    [
      Array.from({ length: 50 }, (_, i) => ({ user: `${i}`, metrics: { rating: 1 + (i % 4) }, outcome: 1 })),
      'NOT_ENOUGH_DATA',
      /every user is 1/,
    ],
  ])('refuses %j', (users, code, message) => {
    expect(() => fitObjective(users as CohortUser[])).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});
