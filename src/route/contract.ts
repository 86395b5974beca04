/**
 * What the router takes and what it gives: the scorer and the feature space as interfaces, the decision as the
 * record that is logged and later joined with its outcome.
 */
import type { Attributes, Conversation, MetricName, Objective } from '../types.js';

/** The best experts of each query; `SearchResult` of the engine is one. */
export interface Hits {
  readonly k: number;
  readonly counts: Uint32Array;
  /** count × k, row-major. */
  readonly scores: Float32Array;
  ids(query: number): string[];
}

/** A set of experts to search among, of use to the scorer that made it alone. */
export interface ExpertSet {
  readonly size: number;
}

/** Finds the experts whose vectors have the highest inner product with a query; `ExpertIndex` is one. */
export interface Scorer {
  readonly dimensions: number;
  search(queries: Float32Array, options: { k: number; filter?: ExpertSet | undefined; signal?: AbortSignal | undefined }): Promise<Hits>;
  filter(ids: readonly string[], options?: { complement?: boolean }): ExpertSet;
  has(id: string): boolean;
  vector(id: string): Float32Array | undefined;
}

export type AdvantageUnit = 'deviations' | 'scores';

/**
 * How a conversation's vector ψ and an objective become a query, and what a score means.
 *
 * Expert and query vectors are R blocks, one a metric in the order of `metrics`, of p + 1 components: the
 * p dimensions of the feature space, then the expert's bias. With all weights at 1, the inner product over block r
 * is ŷ_r, the predicted advantage over the conversation's expected outcome in standard deviations.
 */
export interface FeatureSpace {
  /** Names this state of the model; every decision carries it. */
  readonly version: string;
  readonly metrics: readonly MetricName[];
  /** p names. */
  readonly dimensionNames: readonly string[];
  /**
   * What ŷ_r is in: `deviations`, as above (the default), or, in a space made of scores alone, `scores`: an expert's scores, weighed by
   * what the conversation asks of each dimension, on the table's own scale; outcomes never calibrated them.
   */
  readonly advantageIn?: AdvantageUnit;
  /** Names of the attributes of conversations that `withAttributes` takes. */
  readonly attributeNames?: readonly string[];
  /** ψ with what is known of the conversations besides their text, one a row; absent in a space of text alone. @throws PointsmanError BAD_ARGUMENT for unknown names */
  withAttributes?(psi: Float32Array, attributes: readonly Attributes[]): Float32Array;
  /** @param psi row-major, rows × p @returns row-major, rows × R(p + 1) */
  queryVectors(psi: Float32Array, objective: Objective): Float32Array;
  /** The calibrated outcome (a probability of a retry, stars, messages, a score) for one conversation's ψ and ŷ_r. */
  readOut(metric: MetricName, psi: Float32Array, advantage: number): number;
}

/** How sure a model is of its experts; `LearnedModel` and `OnlineLearner` are. */
export interface Uncertainty {
  /**
   * The standard deviation of Σ_r α_r·ŷ_r for one conversation's ψ (p numbers), in the unit of the score.
   * @throws PointsmanError NO_BELIEFS, UNKNOWN_EXPERT
   */
  deviation(expert: string, psi: Float32Array, objective: Objective): number;
}

/**
 * How to try others than the best (policy.ts). ε-greedy: with probability ε one of the best candidates at random. Thompson: each
 * with the probability that it is the best, by what is believed of the experts.
 */
export type Explore =
  | {
      policy?: 'epsilon-greedy' | undefined;
      /** ε, 0 to 1. */
      epsilon: number;
      /** How many of the best candidates take part, the best included; 1 to 4096. Default: k. */
      among?: number | undefined;
    }
  | {
      policy: 'thompson';
      /** How many of the best by their means take part, 1 to 4096; the others are not tried. Default: k. */
      among?: number | undefined;
    };

export interface RouteOptions {
  /** How many candidates a decision lists, 1–4096; at least `explore.among` are listed. Default 5. */
  k?: number | undefined;
  /** Weights over metrics; natural signs. Default: `DEFAULT_OBJECTIVE` restricted to the model's metrics. */
  objective?: Objective | undefined;
  /** What is known of the conversations besides their text: one for all of the call, or one a conversation. */
  attributes?: Attributes | readonly Attributes[] | undefined;
  /** Only these experts may be chosen. */
  eligible?: readonly string[] | undefined;
  /** These experts may not be chosen. */
  exclude?: readonly string[] | undefined;
  /**
   * Passes over ids of `eligible` and `exclude` that the model does not know, for a catalogue that runs ahead of the
   * model. Default: they are refused with UNKNOWN_EXPERT, since most are slips.
   */
  ignoreUnknown?: boolean | undefined;
  explore?: Explore | undefined;
  /** Makes exploration repeatable: one call draws one number a conversation from it. A new seed for each call, or none. */
  seed?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** An expert that could have answered. */
export interface Candidate {
  expert: string;
  /** Σ_r α_r·ŷ_r, as the search found it. */
  score: number;
  /** Probability with which the policy chose it; they sum to 1 over a decision's candidates. */
  propensity: number;
  /** What to expect of it, in the metric's own unit. */
  predictions: { [metric in MetricName]?: number };
  /** The standard deviation of what is believed of `score`, where the policy asked for it. */
  deviation?: number;
  contributions: {
    /** α_r·ŷ_r: they sum to the score. */
    metrics: { [metric in MetricName]?: number };
    /** Of each dimension of the feature space over all metrics, in the order of the router's `dimensionNames`. */
    dimensions: number[];
    /** The expert's merit whatever the conversation. With `dimensions` it sums to the score. */
    bias: number;
  };
}

/** How the expert was chosen among the candidates. */
export type Policy = { name: 'greedy' } | { name: 'epsilon-greedy'; epsilon: number; among: number } | { name: 'thompson'; among: number };

/** One routed conversation; plain data that JSON keeps whole. */
export interface Decision {
  id: string;
  conversation: Conversation;
  /** As given with the request. */
  attributes?: Attributes;
  expert: string;
  score: number;
  propensity: number;
  /** Best first; the chosen expert is among them, not always the first when exploring. */
  candidates: Candidate[];
  /**
   * ψ(C), how much the conversation asks of each dimension, in the order of the router's `dimensionNames`: a candidate's contribution
   * of a dimension is this × its own component there.
   */
  projection: number[];
  objective: Objective;
  policy: Policy;
  modelVersion: string;
  /** ISO 8601. */
  at: string;
}
