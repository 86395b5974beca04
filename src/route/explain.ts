/**
 * Why a candidate has its score.
 *
 * With u the query at unit weights and x the expert's vector, ŷ_r = Σ_{j ≤ p} u_{r,j}·x_{r,j} over block r, its last
 * component being the bias. Metric r contributes α_r·ŷ_r, dimension j contributes Σ_r α_r·u_{r,j}·x_{r,j}. Sums are
 * float64 of float32 values, so they agree with the score to its last float32 digits.
 */
import type { MetricName, Objective } from '../types.js';
import type { Candidate, FeatureSpace } from './contract.js';

export function explain(
  space: FeatureSpace,
  objective: Objective,
  psi: Float32Array,
  unitQuery: Float32Array,
  expertVector: Float32Array,
): Pick<Candidate, 'predictions' | 'contributions'> {
  const p = space.dimensionNames.length;
  const dimensions = new Array<number>(p).fill(0);
  const metrics: { [metric in MetricName]?: number } = {};
  const predictions: { [metric in MetricName]?: number } = {};
  let bias = 0;
  for (const [r, metric] of space.metrics.entries()) {
    const start = r * (p + 1);
    const weight = objective[metric] ?? 0;
    const term = (j: number) => (unitQuery[start + j] as number) * (expertVector[start + j] as number);
    let advantage = term(p);
    bias += weight * advantage;
    for (let j = 0; j < p; j++) {
      const product = term(j);
      advantage += product;
      dimensions[j] = (dimensions[j] as number) + weight * product;
    }
    if (weight !== 0) metrics[metric] = weight * advantage;
    predictions[metric] = space.readOut(metric, psi, advantage);
  }
  return { predictions, contributions: { metrics, dimensions, bias } };
}
