/**
 * Read-outs: from a prediction u (standard deviations above the metric's mean) to what people understand, fitted on
 * held-out predictions so that they are calibrated:
 *
 *   logistic     1 / (1 + exp(−(a + b·u)))    retry, score; the maximum of the (fractional) Bernoulli likelihood
 *   exponential  exp(a + b·u)                 length; the maximum of the Poisson likelihood
 *   linear       a + b·u, within the bounds   rating; least squares
 *
 * The covariance of (a, b) is the robust one, H⁻¹ (Σ r² x xᵀ) H⁻¹ with the residuals r (White, Maximum likelihood estimation of
 * misspecified models, Econometrica 1982): it holds for fractions and for counts that spread more than Poisson's.
 *
 * b is never negative. All three are generalised linear models with their canonical link: Newton's steps, with a small pull of b to zero so
 * that separable data end somewhere.
 */
import type { Metric } from './metrics.js';

export interface ReadOut {
  intercept: number;
  slope: number;
  /** Of intercept and slope: [var a, cov(a, b), var b]; absent in models of before. */
  covariance?: readonly [number, number, number];
}

const STEPS = 50;
const PULL = 1e-3;

export function fitReadOut(metric: Metric, u: Float32Array, outcome: Float32Array): ReadOut {
  const average = outcome.reduce((sum, y) => sum + y, 0) / outcome.length;
  let intercept = startOf(metric, average);
  let slope = 0;
  let covariance: [number, number, number] = [0, 0, 0];
  for (let step = 0; step < STEPS; step++) {
    let g0 = 0;
    let g1 = -PULL * slope;
    let h00 = 1e-9;
    let h01 = 0;
    let h11 = PULL;
    const meat = [0, 0, 0] as [number, number, number];
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
      meat[0] += rest * rest;
      meat[1] += rest * rest * x;
      meat[2] += rest * rest * x * x;
    }
    const determinant = h00 * h11 - h01 * h01;
    if (!(determinant > 1e-12)) break;
    covariance = sandwich([h11 / determinant, -h01 / determinant, h00 / determinant], meat);
    const d0 = (h11 * g0 - h01 * g1) / determinant;
    const d1 = (h00 * g1 - h01 * g0) / determinant;
    const limit = Math.min(1, 2 / Math.max(1e-12, Math.abs(d0), Math.abs(d1))); // no wild steps far from the optimum
    intercept += limit * d0;
    slope += limit * d1;
    if (Math.abs(d0) + Math.abs(d1) < 1e-9) break;
  }
  // A falling read-out would say the opposite of the order that experts are chosen in: then the predictions tell nothing
  // about by how much.
  if (slope >= 0) return { intercept, slope, covariance };
  const flat = startOf(metric, average);
  const mu = inverseLink(metric, flat);
  const steepness = metric.link === 'linear' ? 1 : metric.link === 'exponential' ? mu : mu * (1 - mu);
  const spread = outcome.reduce((sum, y) => sum + (y - average) ** 2, 0) / outcome.length ** 2;
  return { intercept: flat, slope: 0, covariance: [spread / Math.max(steepness, 1e-9) ** 2, 0, 0] };
}

/** A B A for symmetric 2 × 2 matrices [11, 12, 22]. */
function sandwich([a, b, c]: [number, number, number], [p, q, r]: [number, number, number]): [number, number, number] {
  return [a * a * p + 2 * a * b * q + b * b * r, a * b * p + (a * c + b * b) * q + b * c * r, b * b * p + 2 * b * c * q + c * c * r];
}

/**
 * 95% interval of the expected outcome at u: of the read-out's own uncertainty, not of single outcomes nor of u. A model
 * of before knows none: then both ends are the read-out.
 */
export function readOutInterval(metric: Metric, read: ReadOut, u: number): { low: number; high: number } {
  const [aa, ab, bb] = read.covariance ?? [0, 0, 0];
  const half = 1.96 * Math.sqrt(Math.max(0, aa + 2 * ab * u + bb * u * u));
  const at = (shift: number) => readOut(metric, { ...read, intercept: read.intercept + shift }, u);
  return { low: at(-half), high: at(half) };
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
