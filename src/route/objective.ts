/** Objectives: weights over metrics, checked against what the model knows. */
import { PointsmanError } from '../errors.js';
import type { MetricName, Objective } from '../types.js';

/**
 * Used where no objective is given, restricted to the metrics that the model learned: fewer retries first, then
 * stars, then longer conversations. A model of an outcome matrix has only `score`.
 */
export const DEFAULT_OBJECTIVE: Objective = { retry: -1, rating: 0.5, length: 0.2, score: 1 };

/** Larger weights would overflow the float32 query; only their ratios matter. */
const MAX_WEIGHT = 1e9;

/** The objective with its zero weights left out. @throws PointsmanError BAD_OBJECTIVE */
export function checkObjective(objective: Objective | undefined, metrics: readonly MetricName[]): Objective {
  const known = metrics.join(', ');
  if (objective === undefined) {
    return Object.fromEntries(metrics.map((metric) => [metric, DEFAULT_OBJECTIVE[metric] ?? 1]));
  }
  if (objective === null || typeof objective !== 'object' || Array.isArray(objective)) {
    throw new PointsmanError('BAD_OBJECTIVE', `objective must be weights over metrics (${known}), such as { ${metrics[0]}: 1 }`);
  }
  const checked: { [metric in MetricName]?: number } = {};
  for (const [name, weight] of Object.entries(objective) as [string, unknown][]) {
    const metric = metrics.find((each) => each === name);
    if (metric === undefined) throw new PointsmanError('BAD_OBJECTIVE', `the model has no metric '${name}'; it has ${known}`);
    if (typeof weight !== 'number' || !Number.isFinite(weight) || Math.abs(weight) > MAX_WEIGHT) {
      throw new PointsmanError('BAD_OBJECTIVE', `the weight of ${name} must be a number of at most 1e9 in size, not ${String(weight)}`);
    }
    if (Math.fround(weight) !== 0) checked[metric] = weight;
  }
  if (Object.keys(checked).length === 0) {
    throw new PointsmanError('BAD_OBJECTIVE', `every weight is zero: give at least one of ${known} a weight`);
  }
  return checked;
}
