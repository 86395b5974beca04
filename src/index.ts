/** pointsman: learns from outcomes which expert should answer a conversation, and finds it exactly and fast. */
export {
  type Encoder,
  EndpointEncoder,
  type EndpointEncoderOptions,
  HashingEncoder,
  type HashingEncoderOptions,
  OnnxEncoder,
  type OnnxEncoderOptions,
} from './encode/index.js';
export {
  type BackendName,
  ExpertIndex,
  type Filter,
  type IndexOptions,
  MAX_DIMENSIONS,
  MAX_K,
  type SearchOptions,
  type SearchResult,
} from './engine/index.js';
export { ERROR_CODES, type ErrorCode, PointsmanError } from './errors.js';
export {
  type Choice,
  crossValidate,
  type Estimate,
  type EvaluateOptions,
  estimateValue,
  evaluateLog,
  type Fit,
  type LogEvaluation,
  type LogOptions,
  type MatrixEvaluation,
  type MatrixOptions,
  type RoutingPolicy,
  trainTest,
  type ValueEstimate,
  type WeighedLog,
} from './evaluate/index.js';
export { type ExpertVectors, LearnedModel, type LearnOptions, learn, readInteractions, readOutcomeMatrix, tableOf } from './learn/index.js';
export {
  type Candidate,
  DEFAULT_OBJECTIVE,
  type Decision,
  type ExpertSet,
  type Explore,
  type FeatureSpace,
  type Policy,
  type RoutableModel,
  type RouteOptions,
  Router,
  type RouterParts,
  type Scorer,
} from './route/index.js';
export type { Conversation, Interaction, Message, MetricName, Objective, OutcomeTable, ProgressListener, TaskOptions } from './types.js';
