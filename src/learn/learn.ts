/**
 * Learning: outcomes in, a model out.
 *
 *  1. Features of every conversation and their spectral basis, of its text and, with an encoder of the user's, of that one's vectors
 *     (corpus.ts); no outcome is looked at.
 *  2. The expected outcome of a conversation whoever answers it, the experts' biases and their factors, with every
 *     setting chosen inside the data: in one regression where one expert answered each conversation and outputs are few
 *     (joint.ts), otherwise in stages (stages.ts).
 *  3. Read-outs on the held-out predictions (calibration.ts).
 *  4. All folded into a projection of the features (assemble.ts), and with an encoder of the user's perhaps a memory of the training
 *     conversations (neighbours.ts).
 */
import { checkOptions, PointsmanError } from '../errors.js';
import { native } from '../native.js';
import type { Attributes, Encoder, OutcomeTable, ScoreTable, TaskOptions } from '../types.js';
import { assemble, normalised } from './assemble.js';
import { attributesOf } from './attributes.js';
import type { Beliefs } from './beliefs.js';
import { fitReadOut } from './calibration.js';
import { analyse, type ViewFactors } from './corpus.js';
import { checkEncoder } from './encoder.js';
import { hybridBeliefs, learnBeliefs } from './first-beliefs.js';
import { fitHybrid } from './hybrid.js';
import { fitJointly } from './joint.js';
import type { LearnedModel } from './model.js';
import { type Memory, rememberedBy } from './neighbours.js';
import { foldsOf, type MetricObservations, observationsOf } from './observations.js';
import { checkScoreTable } from './score-table.js';
import { answeredBySeveral } from './select.js';
import { type Fitted, fitInStages } from './stages.js';

export interface LearnOptions extends TaskOptions {
  /** Of the folds and the solvers. The same seed gives the same model, whatever the number of threads. Default 0. */
  seed?: number | undefined;
  /** Default: all of the pool. */
  threads?: number | undefined;
  /** Ranks to choose from, besides biases alone. Default: full where outputs (metrics × experts) are few, else 4 and 8. */
  ranks?: readonly number[] | undefined;
  /**
   * Reads the conversations beside the built-in encoder, such as an OnnxEncoder or an EndpointEncoder: what of the two is used is chosen
   * on what is held out. The model is then opened with the same one.
   */
  encoder?: Encoder | undefined;
  /** Attributes of conversations to learn from; `category` may be the category of an outcome matrix. Default: all but that. */
  attributes?: readonly string[] | undefined;
  /** Scores of experts in named dimensions: the feature space gets these dimensions, and experts without outcomes a vector (hybrid.ts). */
  content?: ScoreTable | undefined;
  /** Also learn how sure each expert's vector is, which going on learning online needs. Default true. */
  beliefs?: boolean | undefined;
}

const OPTIONS = ['seed', 'threads', 'ranks', 'encoder', 'attributes', 'content', 'beliefs', 'signal', 'onProgress'];
const FOLDS = 5;
/** Up to so many outputs each has a regression of its own. */
export const MOST_FULL_RANK = 128;
const LOW_RANKS = [4, 8];

/** @throws PointsmanError NOT_ENOUGH_DATA, BAD_DATA, BAD_CONVERSATION, BAD_ARGUMENT, WRONG_SHAPE, ABORTED */
export async function learn(table: OutcomeTable, options: LearnOptions = {}): Promise<LearnedModel> {
  checkOptions(options, OPTIONS, 'learn');
  const { beliefs: wanted = true } = options;
  if (typeof wanted !== 'boolean') throw new PointsmanError('BAD_ARGUMENT', `beliefs must be true or false, not ${String(wanted)}`);
  const work = workOf(options);
  const { seed } = work;
  const used = observedPart(table);
  const metrics = observationsOf(used);
  if (options.encoder !== undefined) checkEncoder(options.encoder);
  const corpus = await analyse(used.conversations, attributesOf(used, options.attributes), work, options.encoder);
  const fold = foldsOf(used, FOLDS, seed);

  const biasPriors = metrics.map((observations) => biasPrior(observations, used.experts.length));
  if (options.content !== undefined) {
    checkScoreTable(options.content);
    const fitted = await fitHybrid(used, options.content, metrics, biasPriors, corpus, fold, work);
    const { factors, scale } = normalised(fitted.factors, fitted.kept);
    const beliefs = !wanted ? undefined : hybridBeliefs(fitted, scale, noiseOf(metrics, fitted.predictions));
    return finish(fitted, fitted.experts, factors, beliefs, fitted);
  }
  const outputs = metrics.length * used.experts.length;
  const ranks = ranksOf(outputs, options.ranks);
  const jointly = !answeredBySeveral(metrics) && ranks.every((rank) => rank === outputs);
  const fitted = jointly
    ? await fitJointly(metrics, biasPriors, used.experts.length, corpus, fold, work)
    : await fitInStages(metrics, biasPriors, used.experts.length, ranks, corpus, fold, work);
  const { factors, psi, scale } = normalised(fitted.factors, 0, fitted.neighbours?.heldOut);
  const noise = noiseOf(metrics, fitted.predictions);
  const beliefs = !wanted ? undefined : await learnBeliefs(used.experts, metrics, fitted, factors, psi, noise, work);
  const memory = fitted.neighbours && (await rememberedBy(fitted.neighbours, scale, work));
  return finish(fitted, used.experts, factors, beliefs, undefined, memory);

  function finish(
    { expected, rank, penalty, predictions }: Fitted,
    experts: readonly string[],
    factors: ViewFactors,
    beliefs: Beliefs | undefined,
    named: { names: readonly string[]; offset: readonly number[] } | undefined,
    memory?: Memory,
  ): Promise<LearnedModel> {
    const settings = { rank, penalty, outcomes: predictions.length };
    const readOuts = readOutsOf(metrics, predictions);
    return assemble({ seed, named, experts, metrics, corpus, expected, factors, memory, settings, beliefs, readOuts, work });
  }
}

/** @throws PointsmanError BAD_ARGUMENT */
export function workOf({
  seed = 0,
  threads = native().doctor().threads,
  signal,
  onProgress,
}: TaskOptions & { seed?: number | undefined; threads?: number | undefined }): Work {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new PointsmanError('BAD_ARGUMENT', `seed must be an integer of at least 0, not ${String(seed)}`);
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new PointsmanError('BAD_ARGUMENT', `threads must be an integer from 1 to 1024, not ${String(threads)}`);
  }
  return { seed, threads, tasks: { signal, onProgress } };
}

export interface Work {
  seed: number;
  threads: number;
  tasks: TaskOptions;
}

function ranksOf(outputs: number, asked: readonly number[] | undefined): number[] {
  if (asked !== undefined && !Array.isArray(asked))
    throw new PointsmanError('BAD_ARGUMENT', `ranks must be a list of integers, not ${String(asked)}`);
  const given = asked ?? (outputs <= MOST_FULL_RANK ? [outputs] : LOW_RANKS);
  for (const rank of given) {
    if (!Number.isInteger(rank) || rank < 1 || rank > 1024)
      throw new PointsmanError('BAD_ARGUMENT', `ranks must be integers from 1 to 1024, not ${rank}`);
  }
  return [...new Set(given.map((rank) => Math.min(rank, outputs)))]; // of at least the outputs is full rank
}

/** The mean square of what held-out predictions leave of an outcome, by metric. */
function noiseOf(metrics: readonly MetricObservations[], predictions: Float32Array): number[] {
  let offset = 0;
  return metrics.map(({ value }) => {
    const sum = value.reduce((total, y, e) => total + (y - (predictions[offset + e] as number)) ** 2, 0);
    offset += value.length;
    return Math.max(1e-6, sum / value.length);
  });
}

function readOutsOf(metrics: readonly MetricObservations[], predictions: Float32Array) {
  let offset = 0;
  return metrics.map(({ metric, outcome }) => {
    const u = predictions.subarray(offset, offset + outcome.length);
    offset += outcome.length;
    return fitReadOut(metric, u, outcome);
  });
}

/** Only the conversations and experts that have an outcome: the rest cannot teach, and an expert without outcomes has no vector. */
function observedPart(table: OutcomeTable): OutcomeTable {
  const conversations = numbering(table.conversation, table.conversations.length);
  const experts = numbering(table.expert, table.experts.length);
  return {
    ...table,
    conversations: conversations.kept.map((c) => table.conversations[c] as OutcomeTable['conversations'][number]),
    experts: experts.kept.map((e) => table.experts[e] as string),
    conversation: table.conversation.map((c) => conversations.to[c] as number),
    expert: table.expert.map((e) => experts.to[e] as number),
    ...(table.group && { group: Uint32Array.from(conversations.kept, (c) => table.group?.[c] as number) }),
    ...(table.category && { category: conversations.kept.map((c) => table.category?.[c] as string) }),
    ...(table.attributes && { attributes: conversations.kept.map((c) => table.attributes?.[c] as Attributes) }),
  };
}

function numbering(column: Uint32Array, size: number): { kept: number[]; to: Uint32Array } {
  const present = new Uint8Array(size);
  for (const entry of column) {
    if (entry >= size) throw new PointsmanError('WRONG_SHAPE', 'a record names a conversation or an expert that is not in the table');
    present[entry] = 1;
  }
  const kept = Array.from({ length: size }, (_, i) => i).filter((i) => present[i]);
  const to = new Uint32Array(size);
  for (const [place, i] of kept.entries()) to[i] = place;
  return { kept, to };
}

/**
 * The pseudo-outcomes of a bias: noise variance over the variance of experts' true means, by the method of moments
 * (one-way random effects).
 */
function biasPrior({ expert, value }: MetricObservations, experts: number): number {
  const count = new Float64Array(experts);
  const sum = new Float64Array(experts);
  for (let e = 0; e < value.length; e++) {
    count[expert[e] as number] = (count[expert[e] as number] as number) + 1;
    sum[expert[e] as number] = (sum[expert[e] as number] as number) + (value[e] as number);
  }
  // Σ_m (sum_m² − Σ squares) / Σ_m count_m (count_m − 1) estimates the variance of the means: pairs share no noise.
  let pairs = 0;
  let products = 0;
  let squares = 0;
  for (const v of value) squares += v * v;
  for (let m = 0; m < experts; m++) {
    pairs += (count[m] as number) * ((count[m] as number) - 1);
    products += (sum[m] as number) ** 2;
  }
  const between = pairs > 0 ? Math.max(1e-3, (products - squares) / pairs) : 1e-3;
  return Math.min(1000, Math.max(0, 1 - between) / between);
}
