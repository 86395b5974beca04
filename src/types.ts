/** The words of the project, shared by every part. */

/** One message of a conversation. `role` is usually `system`, `user`, `assistant` or `tool`. */
export interface Message {
  role: string;
  content: string;
}

/** Messages from the oldest to the newest. For routing it ends before the expert's answer. */
export type Conversation = readonly Message[];

/** What is known of a conversation besides its text: names and values, such as `{ category: 'java' }`. */
export type Attributes = { readonly [name: string]: string };

/** What is known of one answered message: a line of a user's log. */
export interface Interaction {
  conversation: Conversation;
  /** The expert that answered. */
  expert: string;
  user?: string;
  /** Was the message retried? Lower is better. */
  retry?: boolean;
  /** Stars, 1 to 5. */
  rating?: number;
  /** Messages after the answer, an integer ≥ 0. */
  length?: number;
  /** A score in [0, 1], the metric of outcome matrices. */
  score?: number;
  /** Probability with which the logging policy chose this expert, in (0, 1]. */
  propensity?: number;
  /** When, ISO 8601. */
  at?: string;
  /** Conversations of one group are near-duplicates and are never split between training and test. */
  group?: string;
  attributes?: Attributes;
}

/** The metrics that outcomes are read for. */
export type MetricName = 'retry' | 'rating' | 'length' | 'score';

/**
 * Outcomes in columns: record n says that expert `experts[expert[n]]` answered
 * `conversations[conversation[n]]`, with `metrics.rating[n]` stars and so on (NaN: not observed).
 * Both a log and a full outcome matrix take this form.
 */
export interface OutcomeTable {
  readonly conversations: readonly Conversation[];
  readonly experts: readonly string[];
  readonly conversation: Uint32Array;
  readonly expert: Uint32Array;
  readonly metrics: { readonly [metric in MetricName]?: Float32Array };
  /** One number a conversation; equal numbers are near-duplicates. */
  readonly group?: Uint32Array;
  /** One a record, where known; NaN elsewhere. */
  readonly propensity?: Float32Array;
  /** One a record, milliseconds since 1970, where known; NaN elsewhere. */
  readonly at?: Float64Array;
  /** One a conversation, where the data names one (`train`, `test`, …). */
  readonly split?: readonly string[];
  /** One a conversation, where the data names one (a dataset or a category). */
  readonly category?: readonly string[];
  /** One a conversation; `{}` where nothing is known. */
  readonly attributes?: readonly Attributes[];
}

/** Scores of experts in named dimensions, such as a judge gives: content features, known before any outcome. */
export interface ScoreTable {
  readonly dimensions: readonly string[];
  readonly experts: readonly string[];
  /** experts × dimensions, row-major; NaN where missing. */
  readonly scores: Float32Array;
}

/** Weights α over metrics. Signs are natural: `retry` is to be lowered, so its weight is negative. */
export type Objective = { readonly [metric in MetricName]?: number };

/** Called with how much of the total is done. */
export type ProgressListener = (progress: { stage: string; done: number; total: number }) => void;

/** What long work takes. */
export interface TaskOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

/** Turns conversations into vectors of the feature space, row-major, `conversations.length × dimensions`. */
export interface Encoder {
  readonly dimensions: number;
  /** Names what the vectors depend on, such as a model and its settings: a model learned with one encoder asks for this id. */
  readonly id?: string | undefined;
  encode(conversations: readonly Conversation[], options?: TaskOptions): Promise<Float32Array>;
}
