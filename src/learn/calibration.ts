/**
 * Read-outs: from a prediction u (standard deviations above the metric's mean) to what people understand, fitted on
 * held-out predictions so that they are calibrated:
 *
 *   logistic     1 / (1 + exp(−(a + b·u)))    retry, score; the maximum of the (fractional) Bernoulli likelihood
 *   exponential  exp(a + b·u)                 length; the maximum of the Poisson likelihood
 *   linear       a + b·u, within the bounds   rating; least squares
 *
 * b is never negative. All three are generalised linear models with their canonical link: Newton's steps, with a small pull of b to zero so
 * that separable data end somewhere.
 */
import type { Metric } from './metrics.js';

export interface ReadOut {
  intercept: number;
  slope: number;
}

const STEPS = 50;
const PULL = 1e-3;

export function fitReadOut(metric: Metric, u: Float32Array, outcome: Float32Array): ReadOut {
  const average = outcome.reduce((sum, y) => sum + y, 0) / outcome.length;
  let intercept = startOf(metric, average);
  let slope = 0;
  for (let step = 0; step < STEPS; step++) {
    let g0 = 0;
    let g1 = -PULL * slope;
    let h00 = 1e-9;
    let h01 = 0;
    let h11 = PULL;
    for (let i = 0; i < u.length; i++) {
      const x = u[i] as number;
      const mu = inverseLink(metric, intercept + slope * x);
      const weight = metric.link === 'linear' ? 1 : metric.link === 'exponential' ? mu : mu * (1 - mu);
      const rest = (outcome[i] as number) - mu;
      g0 += rest;
      g1 += rest * x;
      h00 += weight;
      h01 += weight * x;
      h11 += weight * x * x;
    }
    const determinant = h00 * h11 - h01 * h01;
    if (!(determinant > 1e-12)) break;
    const d0 = (h11 * g0 - h01 * g1) / determinant;
    const d1 = (h00 * g1 - h01 * g0) / determinant;
    const limit = Math.min(1, 2 / Math.max(1e-12, Math.abs(d0), Math.abs(d1))); // no wild steps far from the optimum
    intercept += limit * d0;
    slope += limit * d1;
    if (Math.abs(d0) + Math.abs(d1) < 1e-9) break;
  }
  // A falling read-out would say the opposite of the order that experts are chosen in: then the predictions tell nothing
  // about by how much.
  return slope >= 0 ? { intercept, slope } : { intercept: startOf(metric, average), slope: 0 };
}

export function readOut(metric: Metric, { intercept, slope }: ReadOut, u: number): number {
  return Math.min(metric.high, Math.max(metric.low, inverseLink(metric, intercept + slope * u)));
}

function inverseLink(metric: Metric, eta: number): number {
  if (metric.link === 'linear') return eta;
  if (metric.link === 'exponential') return Math.exp(Math.min(eta, 20));
  return 1 / (1 + Math.exp(-eta));
}

function startOf(metric: Metric, average: number): number {
  if (metric.link === 'linear') return average;
  if (metric.link === 'exponential') return Math.log(Math.max(average, 1e-6));
  const p = Math.min(1 - 1e-6, Math.max(1e-6, average));
  return Math.log(p / (1 - p));
}
