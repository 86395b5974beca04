/** The judge: experts' responses in, a table of scores in named dimensions out. */
export type { Agreement } from './agreement.js';
export type { Bill, Prices, Usage } from './bill.js';
export { type Failure, type Judged, type JudgeOptions, judge, judgeBill } from './judge.js';
export { DEFAULT_TEMPLATE, type PromptTemplate } from './prompt.js';
export { type ExpertResponse, readResponses } from './responses.js';
export type { Dimension, Rubric } from './rubric.js';
