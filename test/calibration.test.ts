/** Read-outs: calibrated where predictions tell something, silent where they don't. */
import { describe, expect, it } from 'vitest';
import { fitReadOut, readOut, readOutInterval } from '../src/learn/calibration.js';
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

describe('readOutInterval', () => {
  it('holds the truth in 95 of 100 samples, for every link, and narrows with the data', () => {
    const random = new Random(5);
    const truth = {
      retry: (x: number) => 1 / (1 + Math.exp(-(x - 0.4))),
      rating: (x: number) => 3 + 0.5 * x,
      length: (x: number) => Math.exp(0.5 + 0.4 * x),
    };
    for (const name of ['retry', 'rating', 'length'] as const) {
      const metric = METRICS[name];
      const draw = (n: number) => {
        const u = Float32Array.from({ length: n }, () => 2 * random.uniform() - 1);
        const y = u.map((x) => {
          const mean = truth[name](x);
          if (name === 'retry') return Number(random.uniform() < mean);
          if (name === 'rating') return mean + random.uniform() - 0.5;
          return Math.floor(2 * mean * random.uniform() + random.uniform()); // mean as told, wider than Poisson
        });
        return fitReadOut(metric, u, y);
      };
      let inside = 0;
      for (let sample = 0; sample < 200; sample++) {
        const { low, high } = readOutInterval(metric, draw(400), 0.5);
        inside += Number(low <= truth[name](0.5) && truth[name](0.5) <= high);
      }
      expect(inside, name).toBeGreaterThanOrEqual(180);
      expect(inside, name).toBeLessThanOrEqual(199);
      const width = (n: number) => {
        const { low, high } = readOutInterval(metric, draw(n), 0.5);
        return high - low;
      };
      expect(width(6400) / width(400)).toBeLessThan(0.4);
    }
  });
});
