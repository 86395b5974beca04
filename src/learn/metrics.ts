/**
 * The metrics: how an outcome becomes a number to be predicted by least squares, and how a prediction becomes an
 * outcome again. `scale` is where least squares works; `link` is the read-out for people.
 */
import type { MetricName } from '../types.js';

export interface Metric {
  readonly name: MetricName;
  /** Is more better? Decides which expert counts as picked when settings are compared. */
  readonly sign: 1 | -1;
  /** What a valid outcome is, for messages. */
  readonly range: string;
  valid(value: number): boolean;
  /** From outcome to the scale of the regression. */
  scale(value: number): number;
  readonly link: 'logistic' | 'linear' | 'exponential';
  /** Bounds of the read-out. */
  readonly low: number;
  readonly high: number;
}

const inUnit = (value: number) => value >= 0 && value <= 1;
const same = (value: number) => value;

export const METRICS: { readonly [name in MetricName]: Metric } = {
  retry: {
    name: 'retry',
    sign: -1,
    range: 'true or false',
    valid: (v) => v === 0 || v === 1,
    scale: same,
    link: 'logistic',
    low: 0,
    high: 1,
  },
  rating: {
    name: 'rating',
    sign: 1,
    range: 'a number from 1 to 5',
    valid: (v) => v >= 1 && v <= 5,
    scale: same,
    link: 'linear',
    low: 1,
    high: 5,
  },
  // Lengths have a long tail: on the logarithm one endless conversation does not decide for all.
  length: {
    name: 'length',
    sign: 1,
    range: 'an integer of at least 0',
    valid: (v) => Number.isInteger(v) && v >= 0,
    scale: Math.log1p,
    link: 'exponential',
    low: 0,
    high: 1e6,
  },
  score: { name: 'score', sign: 1, range: 'a number from 0 to 1', valid: inUnit, scale: same, link: 'logistic', low: 0, high: 1 },
};

export const METRIC_NAMES = Object.keys(METRICS) as MetricName[];
