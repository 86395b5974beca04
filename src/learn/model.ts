/**
 * A learned model: encoder, experts' vectors, and what scores mean.
 *
 * The feature space has p dimensions: the learned ones, of mean square 1 over the training conversations, then one for
 * each metric that holds c_r(C), the conversation's expected outcome, in which every expert's factors are zero. An
 * expert's vector is R blocks [φ_r(m); b_r(m)] of p + 1 numbers, a query the blocks α_r·[ψ(C); 1].
 */
import { HashingEncoder } from '../encode/index.js';
import { ExpertIndex } from '../engine/index.js';
import { checkOptions, PointsmanError } from '../errors.js';
import type { Attributes, Encoder, MetricName, Objective, TaskOptions } from '../types.js';
import { attributeCoordinates, attributeWidth, type KnownAttribute } from './attributes.js';
import type { BeliefParameters, Beliefs } from './beliefs.js';
import { type ReadOut, readOut, readOutInterval } from './calibration.js';
import { checkFits, type EncoderNeeded, type HeadArrays, ModelEncoder } from './encoder.js';
import { openFolder, saveFolder } from './files.js';
import { METRICS } from './metrics.js';
import type { NeighbourSettings } from './neighbours.js';

/** What is frozen of a metric. */
export interface MetricParameters {
  name: MetricName;
  /** Mean and standard deviation s_r of the outcomes, on the metric's scale. */
  mean: number;
  deviation: number;
  /** c_r(C) less its component of ψ, in standard deviations. */
  expected: number;
  readOut: ReadOut;
}

/** The numbers of a model that people may read: model.json. */
export interface ModelParameters {
  seed: number;
  /** Names of the dimensions of ψ. */
  dimensionNames: string[];
  metrics: MetricParameters[];
  /** What ψ is a projection of: features of the text, vectors of the user's encoder, or both. */
  reads: ('text' | 'encoder')[];
  /** Of a model that was learned with an encoder of the user's: what it must be opened with. */
  encoder?: EncoderNeeded;
  /** Of a model that remembers training conversations (neighbours.ts). */
  neighbours?: NeighbourSettings & { share: number; conversations: number; outputs: number };
  /** What every ψ begins with, where the dimensions have a constant part. */
  offset?: number[];
  /** What experts' beliefs are made of (beliefs.ts). */
  beliefs?: BeliefParameters;
  /** Attributes of conversations, and for each value the p components that it adds to ψ; in models of text alone absent. */
  attributes?: (KnownAttribute & { vectors: number[][] })[];
  /** What was chosen on held-out data, and from how much. */
  chosen: { rank: number; penalty: number; outcomes: number; conversations: number; experts: number };
}

/** The numbers of a model that only machines read. */
export interface ModelArrays {
  /** Where ψ is one of the text. */
  text?: TextArrays | undefined;
  /** Where anything of ψ comes from the user's encoder. */
  head?: HeadArrays | undefined;
  /** Absent in models that were learned without them. */
  beliefs?: Beliefs | undefined;
}

export interface TextArrays {
  /** One a column of the text features. */
  idf: Float32Array;
  /** columns × p */
  projection: Float32Array;
}

export interface ExpertVectors {
  ids: string[];
  /** ids.length × dimensions */
  vectors: Float32Array;
  dimensions: number;
}

export class LearnedModel {
  readonly parameters: ModelParameters;
  readonly encoder: Encoder;
  /** Names this state of the model: the same learning gives the same version. */
  readonly version: string;
  readonly metrics: readonly MetricName[];
  readonly dimensionNames: readonly string[];
  readonly #arrays: ModelArrays;
  readonly #experts: ExpertVectors | ExpertIndex;

  /** @internal */
  constructor(
    parameters: ModelParameters,
    arrays: ModelArrays,
    experts: ExpertVectors | ExpertIndex,
    version: string,
    { threads, encoder }: { threads?: number | undefined; encoder?: Encoder | undefined } = {},
  ) {
    this.parameters = parameters;
    this.version = version;
    this.metrics = parameters.metrics.map(({ name }) => name);
    this.dimensionNames = parameters.dimensionNames;
    this.#arrays = arrays;
    this.#experts = experts;
    this.encoder = encoderOf(parameters, arrays, threads, encoder);
    const width = this.metrics.length * (this.dimensionNames.length + 1);
    if (experts.dimensions !== width)
      throw new PointsmanError('FILE_CORRUPT', `the experts have ${experts.dimensions} dimensions, the model ${width}`);
  }

  /**
   * Opens what `save` wrote; a model that was learned with an encoder of yours needs it again.
   * @throws PointsmanError FILE_MISSING, FILE_CORRUPT, FILE_VERSION, FILE_IO, WRONG_ENCODER
   */
  static async open(
    folder: string,
    options: TaskOptions & { threads?: number | undefined; encoder?: Encoder | undefined } = {},
  ): Promise<LearnedModel> {
    checkOptions(options, undefined, 'open');
    return openFolder(
      folder,
      options,
      ({ parameters, arrays, index, version }) => new LearnedModel(parameters, arrays, index, version, options),
    );
  }

  /** What is believed of the experts: a copy, for `OnlineLearner`. @throws PointsmanError NO_BELIEFS */
  beliefs(): Beliefs {
    return this.#believed().copy();
  }

  /**
   * The standard deviation of an expert's score Σ_r α_r·ŷ_r for one conversation's ψ (p numbers), as it was when the model was learned.
   * @throws PointsmanError NO_BELIEFS, UNKNOWN_EXPERT
   */
  deviation(expert: string, psi: Float32Array, objective: Objective): number {
    return this.#believed().deviationOf(
      expert,
      psi,
      this.metrics.map((metric) => objective[metric] ?? 0),
    );
  }

  #believed(): Beliefs {
    const { beliefs } = this.#arrays;
    if (!beliefs) throw new PointsmanError('NO_BELIEFS', 'the model was learned without beliefs (beliefs: false, or from scores alone)');
    return beliefs;
  }

  /** Writes the model (files.ts); replaces an earlier one in the same folder. @throws PointsmanError FILE_IO */
  async save(folder: string, options: TaskOptions = {}): Promise<void> {
    checkOptions(options, undefined, 'save');
    await saveFolder(folder, this.parameters, this.#arrays, await this.index(options), this.version, options);
  }

  /**
   * The experts, ready to be searched. A model from `learn` makes a new index at each call; an opened one gives the
   * one that it opened.
   * @throws PointsmanError CLOSED, BAD_ARGUMENT, ABORTED, OUT_OF_MEMORY
   */
  async index(
    options: TaskOptions & { threads?: number | undefined; backend?: 'auto' | 'cpu' | 'cuda' | undefined } = {},
  ): Promise<ExpertIndex> {
    checkOptions(options, undefined, 'index');
    if (this.#experts instanceof ExpertIndex) {
      this.#experts.stats(); // CLOSED here, not at the first search
      return this.#experts;
    }
    const { ids, vectors, dimensions } = this.#experts;
    const { threads, backend, ...tasks } = options;
    const index = new ExpertIndex({ dimensions, ...(threads !== undefined && { threads }), ...(backend && { backend }) });
    await index.upsert(ids, vectors, tasks);
    return index;
  }

  /**
   * Gives back the memory of an opened model's experts (but for their ids, which results may still ask for), and of remembered conversations.
   * What needs them fails with CLOSED from now on, requests under way and learners that began with this model, too. Closing twice is no error.
   */
  close(): void {
    if (this.#experts instanceof ExpertIndex) this.#experts.close();
    this.#arrays.head?.memory?.index.close();
  }

  /** The experts' vectors of a model from `learn`. @throws PointsmanError BAD_ARGUMENT for an opened model: ask its index */
  expertVectors(): ExpertVectors {
    if (this.#experts instanceof ExpertIndex) throw new PointsmanError('BAD_ARGUMENT', "an opened model's experts are in its index");
    return this.#experts;
  }

  /** What ŷ_r is in: standard deviations of the metric, or the table's scores where no outcome was learned from. */
  get advantageIn(): 'deviations' | 'scores' {
    return this.parameters.chosen.outcomes === 0 ? 'scores' : 'deviations';
  }

  /** Names of the attributes of conversations that the model learned from. */
  get attributeNames(): readonly string[] {
    return (this.parameters.attributes ?? []).map(({ name }) => name);
  }

  /**
   * ψ of conversations whose text gave `psi`, with what their attributes add. Values that the model does not know add nothing.
   * @param psi rows × p @param attributes one a row @throws PointsmanError BAD_ARGUMENT for an attribute that the model does not know
   */
  withAttributes(psi: Float32Array, attributes: readonly Attributes[]): Float32Array {
    const known = this.parameters.attributes ?? [];
    const p = this.dimensionNames.length;
    if (psi.length !== attributes.length * p)
      throw new PointsmanError('WRONG_SHAPE', `psi must have ${attributes.length} rows of ${p} numbers`);
    const out = psi.slice();
    const coordinates = new Float32Array(attributeWidth(known));
    const vectors = known.flatMap((each) => each.vectors);
    for (const [i, given] of attributes.entries()) {
      const unknown = Object.keys(given).find((name) => !known.some((each) => each.name === name));
      if (unknown !== undefined) {
        const has = known.length > 0 ? `only ${this.attributeNames.join(', ')}` : 'none';
        throw new PointsmanError('BAD_ARGUMENT', `the model has no attribute '${unknown}', ${has}`);
      }
      attributeCoordinates(known, given, coordinates, 0);
      for (const [v, value] of coordinates.entries()) {
        if (value === 0) continue;
        for (let j = 0; j < p; j++) out[i * p + j] = (out[i * p + j] as number) + value * (vectors[v]?.[j] as number);
      }
    }
    return out;
  }

  /** Queries, so that ⟨query, expert⟩ = Σ_r α_r·ŷ_r. @param psi rows × p @returns rows × R(p + 1), row-major */
  queryVectors(psi: Float32Array, objective: Objective): Float32Array {
    const p = this.dimensionNames.length;
    if (psi.length % p !== 0) throw new PointsmanError('WRONG_SHAPE', `psi must have rows of ${p} numbers`);
    for (const name of Object.keys(objective)) {
      if (!this.metrics.includes(name as MetricName))
        throw new PointsmanError('BAD_OBJECTIVE', `the model has no metric '${name}', only ${this.metrics.join(', ')}`);
    }
    const rows = psi.length / p;
    const width = this.metrics.length * (p + 1);
    const queries = new Float32Array(rows * width);
    for (let i = 0; i < rows; i++) {
      for (const [r, name] of this.metrics.entries()) {
        const alpha = objective[name] ?? 0;
        const start = i * width + r * (p + 1);
        for (let j = 0; j < p; j++) queries[start + j] = alpha * (psi[i * p + j] as number);
        queries[start + p] = alpha;
      }
    }
    return queries;
  }

  /** The calibrated outcome of an expert with the given advantage ŷ_r, for one conversation's ψ. */
  readOut(metric: MetricName, psi: Float32Array, advantage: number): number {
    const r = this.metrics.indexOf(metric);
    const found = this.parameters.metrics[r];
    if (!found) throw new PointsmanError('BAD_OBJECTIVE', `the model has no metric '${metric}', only ${this.metrics.join(', ')}`);
    const component = psi[this.dimensionNames.length - this.metrics.length + r] as number;
    return readOut(METRICS[metric], found.readOut, advantage + found.expected + component);
  }

  /** The 95% interval of `readOut`, from what the read-out itself is unsure of (calibration.ts). */
  readOutInterval(metric: MetricName, psi: Float32Array, advantage: number): { low: number; high: number } {
    const r = this.metrics.indexOf(metric);
    const found = this.parameters.metrics[r];
    if (!found) throw new PointsmanError('BAD_OBJECTIVE', `the model has no metric '${metric}', only ${this.metrics.join(', ')}`);
    const component = psi[this.dimensionNames.length - this.metrics.length + r] as number;
    return readOutInterval(METRICS[metric], found.readOut, advantage + found.expected + component);
  }
}

/** @throws PointsmanError WRONG_ENCODER */
function encoderOf(
  { encoder: needed, dimensionNames, offset }: ModelParameters,
  arrays: ModelArrays,
  threads: number | undefined,
  given?: Encoder,
) {
  const dimensions = dimensionNames.length;
  const text = arrays.text && new HashingEncoder({ dimensions, ...arrays.text, offset, threads });
  if (needed) return new ModelEncoder(given, needed, { text, head: arrays.head }, dimensions, offset);
  checkFits(given, needed);
  if (!text) throw new PointsmanError('FILE_CORRUPT', 'the model reads neither text nor the vectors of an encoder');
  return text;
}
