/** Learning: outcomes in, a model that routes out. */
export { readInteractions, tableOf } from './interactions.js';
export { type LearnOptions, learn } from './learn.js';
export { readOutcomeMatrix } from './matrix.js';
export { METRICS, type Metric } from './metrics.js';
export { type ExpertVectors, LearnedModel, type MetricParameters, type ModelParameters } from './model.js';
