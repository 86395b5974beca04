/** Read-outs: calibrated where predictions tell something, silent where they don't. */
import { describe, expect, it } from 'vitest';
import { fitReadOut, readOut } from '../src/learn/calibration.js';
import { METRICS } from '../src/learn/metrics.js';
import { Random } from '../src/random.js';

describe('fitReadOut', () => {
  const random = new Random(3);
  const u = Float32Array.from({ length: 4000 }, () => 2 * random.uniform() - 1);

  it('finds the probability that the outcomes came from', () => {
    const truth = (x: number) => 1 / (1 + Math.exp(-(0.3 + 1.5 * x)));
    const outcome = u.map((x) => (random.uniform() < truth(x) ? 1 : 0));
    const fitted = fitReadOut(METRICS.retry, u, outcome);
    for (const x of [-0.8, 0, 0.8]) expect(Math.abs(readOut(METRICS.retry, fitted, x) - truth(x))).toBeLessThan(0.04);
  });

  it('never tells the opposite of the order that experts are chosen in', () => {
    for (const metric of [METRICS.retry, METRICS.rating, METRICS.length]) {
      const outcome = u.map((x) => (metric === METRICS.retry ? Number(x < 0) : 3 - x));
      const fitted = fitReadOut(metric, u, outcome);
      expect(fitted.slope).toBe(0);
      const mean = outcome.reduce((sum, y) => sum + y, 0) / outcome.length;
      expect(readOut(metric, fitted, 0.5)).toBeCloseTo(mean, 4);
    }
  });
});
