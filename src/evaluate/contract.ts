/** What evaluation takes and gives. It knows neither engine, router nor learner: the fit is a function. */
import type { Attributes, Conversation, OutcomeTable, TaskOptions } from '../types.js';

/** An expert that a policy may choose, with the probability of it. */
export interface Choice {
  expert: string;
  probability: number;
}

/**
 * What a fit gives: for each conversation its possible experts, probabilities summing to 1. `attributes` are those of the data, one
 * a conversation, with its category as `category`: whether a policy uses them is its own affair.
 */
export type RoutingPolicy = (
  conversations: readonly Conversation[],
  options: { attributes: readonly Attributes[]; signal?: AbortSignal | undefined },
) => Promise<readonly (readonly Choice[])[]>;

/** Learns from the training part alone; every setting is to be chosen inside of it. */
export type Fit = (training: OutcomeTable, options: TaskOptions & { seed: number }) => Promise<RoutingPolicy>;

/** A mean with its 95% interval (percentile bootstrap over groups). */
export interface Estimate {
  mean: number;
  low: number;
  high: number;
}

export interface EvaluateOptions extends TaskOptions {
  /** Seeds: each gives other folds, another draw of a log and another fit. Default [0, 1, 2, 3, 4]. */
  seeds?: readonly number[] | undefined;
  /** Resamples of the bootstrap. Default 2,000. */
  replicates?: number | undefined;
}
