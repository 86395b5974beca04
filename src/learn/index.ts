/** Learning: outcomes in, a model that routes out. */

export { checkAttributes } from './attributes.js';
export { completeCells } from './cells.js';
export type { EnsembleMember, FactoriseOptions, FactorMember, FactorModel } from './factor-models.js';
export { type FactorArrays, Factorisation, factorise, type History } from './factorise.js';
export { checkFile, checkFolder } from './folder.js';
export { type FromScoresOptions, type LabelledConversation, learnFromScores } from './from-scores.js';
export { learn } from './input.js';
export { type LogLine, logLines, type ReadOptions, readInteractions, tableOf } from './interactions.js';
export type { LearnOptions } from './learn.js';
export type { ModelVersion } from './live.js';
export { readOutcomeMatrix } from './matrix.js';
export { METRICS, type Metric } from './metrics.js';
export { type ExpertVectors, LearnedModel, type MetricParameters, type ModelParameters } from './model.js';
export { type CohortUser, type FittedObjective, fitObjective, type ObjectiveOptions, type Weight } from './objective.js';
export { OnlineLearner, type OnlineOptions } from './online.js';
export {
  contentment,
  type InteractionFileOptions,
  isInteractionFile,
  type Preference,
  type PreferenceTable,
  preferenceTable,
  readInteractionFile,
  readPreferences,
  writeInteractionFile,
} from './preferences.js';
export { readScoreTable, writeScoreTable } from './score-table.js';
export {
  type Answer,
  interactionsOf,
  readTranscripts,
  type Transcript,
  type TranscriptMessage,
  type TranscriptOptions,
} from './transcripts.js';
