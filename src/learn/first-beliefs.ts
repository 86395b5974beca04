/** What is believed of the experts right after learning, from every learner. */
import { type BeliefParameters, Beliefs } from './beliefs.js';
import type { ViewFactors } from './corpus.js';
import { fitHierarchies, fitPosteriors, problemsOf, rankOf } from './hierarchy.js';
import type { HybridFit } from './hybrid.js';
import type { Work } from './learn.js';
import type { MetricObservations } from './observations.js';
import { Posterior } from './posterior.js';
import type { Fitted } from './stages.js';

/** The hybrid learner's posteriors as they are. @param scale what ψ's dimensions were divided by */
export function hybridBeliefs(fit: HybridFit, scale: Float64Array, noise: readonly number[]): Beliefs {
  const { hierarchies, posteriors, content, factors, kept, experts } = fit;
  const own = factors.rank - kept;
  const n = own + 1;
  const D = content.parameters.dimensions.length;
  const rank = rankOf(n);
  // ψ_j = x_j / scale_j, so an expert's coefficient is scale_j times as large.
  const scaleOf = (j: number) => (j < own ? (scale[kept + j] as number) : 1);
  const parameters: BeliefParameters = {
    rank,
    first: kept,
    dimensions: own,
    p: factors.rank + hierarchies.length,
    metrics: hierarchies.map(({ variance, map }, r) => ({
      noise: noise[r] as number,
      variance: variance.map((v, j) => v * scaleOf(j) ** 2),
      population: new Array<number>(n).fill(0),
      map: Array.from({ length: n * D }, (_, i) => {
        const j = Math.floor(i / D);
        return (map[j * (D + 1) + (i % D)] as number) * scaleOf(j);
      }),
    })),
    content: content.parameters,
  };
  const scores = Float32Array.from(content.rows.flatMap((row) => row.scores));
  const beliefs = new Beliefs(
    parameters,
    experts,
    scores,
    posteriors.map((parts) => Posterior.of(n, rank, experts.length, parts)),
  );
  for (const [m, row] of content.rows.entries()) {
    for (const [r, posterior] of beliefs.posteriors.entries()) {
      const prior = beliefs.prior(r, row);
      if (prior) posterior.widen(m, prior);
    }
  }
  return beliefs;
}

/**
 * Beliefs in the space that another learner found: means from that learner, who has chosen how far to trust them, variances and
 * precisions from the hierarchical model on its ψ. @param psi conversations × rank
 */
export async function learnBeliefs(
  experts: readonly string[],
  metrics: readonly MetricObservations[],
  { advantages }: Fitted,
  { rank: dimensions, vectors, bias }: ViewFactors,
  psi: Float32Array,
  noise: readonly number[],
  work: Work,
): Promise<Beliefs> {
  const n = dimensions + 1;
  const rank = rankOf(n);
  const rows = 1 + metrics.reduce((last, { conversation }) => Math.max(last, conversation.at(-1) ?? 0), 0);
  const group = Uint32Array.from({ length: n }, (_, j) => (j < dimensions || n === 1 ? 0 : 1));
  const features = new Float32Array(experts.length).fill(1);
  const coordinates = psi.subarray(0, rows * dimensions);
  const design = { coordinates, rows, dimensions, group, experts: experts.length, features, width: 1 };
  const problems = problemsOf(design, metrics, advantages);
  const hierarchies = await fitHierarchies(design, metrics, problems, work);
  const posteriors = await fitPosteriors(problems, hierarchies, rank, work);
  const parameters: BeliefParameters = {
    rank,
    first: 0,
    dimensions,
    p: dimensions + metrics.length,
    metrics: hierarchies.map(({ variance, map }, r) => ({ noise: noise[r] as number, variance, population: map, map: [] })),
  };
  for (const [r, { mean }] of posteriors.entries()) {
    const { variance, map } = hierarchies[r] as (typeof hierarchies)[number];
    for (let m = 0; m < experts.length; m++) {
      const o = r * experts.length + m;
      for (let j = 0; j < n; j++) {
        const own = j < dimensions ? (vectors[o * dimensions + j] as number) : (bias[o] as number);
        mean[m * n + j] = (own - (map[j] as number)) / Math.sqrt(variance[j] as number);
      }
    }
  }
  return new Beliefs(
    parameters,
    experts,
    new Float32Array(0),
    posteriors.map((parts) => Posterior.of(n, rank, experts.length, parts)),
  );
}
