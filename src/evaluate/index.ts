/** Evaluation: outcome matrices, logs with propensities, intervals. */
export { bestSingleExpert } from './baselines.js';
export type { Choice, Estimate, EvaluateOptions, Fit, RoutingPolicy } from './contract.js';
export { crossValidate, type MatrixEvaluation, type MatrixOptions, trainTest } from './matrix.js';
export { estimateValue, evaluateLog, type LogEvaluation, type LogOptions, type ValueEstimate, type WeighedLog } from './offpolicy.js';
export { evaluateOnline, type GoingOn, type OnlineEvaluation } from './online.js';
export {
  type CellPredictor,
  type CellsEvaluation,
  type ColdEvaluation,
  categoryMeans,
  evaluateCells,
  evaluateCold,
  type Predictor,
  type PredictorFit,
} from './predictions.js';
export { type RankingCase, type RankingOptions, type RankingResult, type RankingScorer, rankingResult } from './ranking.js';
