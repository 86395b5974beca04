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
import { run } from '../native.js';
import type { Attributes, Encoder, MetricName, Objective, TaskOptions } from '../types.js';
import { learnAddon } from './addon.js';
import { attributeCoordinates, attributeWidth, type KnownAttribute } from './attributes.js';
import type { BeliefParameters, Beliefs } from './beliefs.js';
import { type ReadOut, readOut, readOutInterval } from './calibration.js';
import { ATTRIBUTE_SCALE, type Corpus, type View, type ViewFactors, viewsOf } from './corpus.js';
import { checkFits, type EncoderNeeded, type HeadArrays, ModelEncoder } from './encoder.js';
import { openFolder, saveFolder } from './files.js';
import type { Work } from './learn.js';
import { METRICS } from './metrics.js';
import type { Memory, NeighbourSettings } from './neighbours.js';
import type { MetricObservations } from './observations.js';

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
   */
  async index(
    options: TaskOptions & { threads?: number | undefined; backend?: 'auto' | 'cpu' | 'cuda' | undefined } = {},
  ): Promise<ExpertIndex> {
    checkOptions(options, undefined, 'index');
    if (this.#experts instanceof ExpertIndex) return this.#experts;
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

export interface Learned {
  seed: number;
  /** Names of the factors' dimensions, and what they begin with. Default: latent 1, …, and nothing. */
  named?: { names: readonly string[]; offset: readonly number[] } | undefined;
  experts: readonly string[];
  metrics: readonly Pick<MetricObservations, 'metric' | 'mean' | 'deviation'>[];
  corpus: Corpus;
  expected: readonly ViewFactors[];
  factors: ViewFactors;
  memory?: Memory | undefined;
  settings: { rank: number; penalty: number; outcomes: number };
  beliefs: Beliefs | undefined;
  readOuts: readonly ReadOut[];
  work: Work;
}

/** Folds what was learned on spectral coordinates into one projection, and stacks the experts' blocks. */
export async function assemble({
  seed,
  named,
  experts,
  metrics,
  corpus,
  expected,
  factors,
  memory,
  settings,
  beliefs,
  readOuts,
  work,
}: Learned): Promise<LearnedModel> {
  const learned = factors.rank;
  const p = learned + metrics.length;
  const { text, encoded, attributes } = corpus;
  const count = text.rows.starts.length - 1;
  const parts = [{ factors, column: 0 }, ...expected.map((each) => ({ factors: each, column: learned }))];
  const projections = new Map<View, Float32Array>();
  for (const view of viewsOf(corpus)) {
    const { rows, vectors, spectral } = view;
    const readout = readoutOf(parts, spectral, p, (factors) => (factors.view === view ? 0 : undefined));
    // A model without an encoder has its text, though it tell nothing.
    if (encoded && readout.every((value) => value === 0)) continue;
    const fold = () => learnAddon().foldProjection(rows, vectors, spectral, readout, p, work.threads);
    projections.set(view, await run(fold, 'fold projection', work.tasks));
  }
  const ofText = projections.get(text);
  const ofVectors = encoded && projections.get(encoded)?.slice(0, encoded.centre.length * p);
  const arrays: ModelArrays = {
    text: ofText && { idf: text.idf, projection: ofText },
    head: encoded &&
      (ofVectors ?? memory) && {
        centre: encoded.centre,
        projection: ofVectors?.map((value) => value * encoded.scale) ?? new Float32Array(0),
        memory,
      },
    beliefs,
  };

  const dimensions = metrics.length * (p + 1);
  const expertRows = new Float32Array(experts.length * dimensions);
  for (let m = 0; m < experts.length; m++) {
    for (let r = 0; r < metrics.length; r++) {
      const o = r * experts.length + m;
      const start = m * dimensions + r * (p + 1);
      for (let j = 0; j < learned; j++) expertRows[start + j] = factors.vectors[o * learned + j] as number;
      expertRows[start + p] = factors.bias[o] as number;
    }
  }
  const parameters: ModelParameters = {
    seed,
    dimensionNames: [
      ...(named?.names ?? Array.from({ length: learned }, (_, j) => `latent ${j + 1}`)),
      ...metrics.map(({ metric }) => `expected ${metric.name}`),
    ],
    metrics: metrics.map(({ metric, mean, deviation }, r) => ({
      name: metric.name,
      mean,
      deviation,
      expected: expected.reduce((sum, { bias }) => sum + (bias[r] as number), 0),
      readOut: readOuts[r] as ReadOut,
    })),
    reads: [...(ofText ? (['text'] as const) : []), ...(ofVectors ? (['encoder'] as const) : [])],
    ...(encoded && { encoder: neededOf(encoded.encoder) }),
    ...(memory && { neighbours: { ...memory.settings, share: memory.share, conversations: memory.index.size, outputs: memory.outputs } }),
    ...(named && { offset: Array.from({ length: p }, (_, j) => Math.fround(named.offset[j] ?? 0)) }),
    ...(attributes.length > 0 && { attributes: attributeVectors(attributes, parts, p) }),
    ...(beliefs && { beliefs: beliefs.parameters }),
    chosen: { ...settings, conversations: count, experts: experts.length },
  };
  const digest = [JSON.stringify(parameters), JSON.stringify(experts)].map((text) => learnAddon().checksum(Buffer.from(text)));
  const numbers = [
    ...(arrays.text ? [arrays.text.projection] : []),
    ...(arrays.head ? [arrays.head.centre, arrays.head.projection] : []),
    ...(encoded && memory ? [memory.told, encoded.rows.values] : []),
    expertRows,
  ];
  const bytes = numbers.map(({ buffer, byteOffset, byteLength }) => learnAddon().checksum(new Uint8Array(buffer, byteOffset, byteLength)));
  const version = learnAddon().checksum(Buffer.from([...digest, ...bytes].join(' ')));
  const vectorsOfExperts = { ids: [...experts], vectors: expertRows, dimensions };
  return new LearnedModel(parameters, arrays, vectorsOfExperts, version, { threads: work.threads, encoder: encoded?.encoder });
}

/** Factors that are added to columns of ψ, from one on. */
interface Part {
  factors: ViewFactors;
  column: number;
}

/** Rows of the parts' projections in their columns, rows × p. @param first the first of those of a part; where it has none: nothing */
function readoutOf(parts: readonly Part[], rows: number, p: number, first: (factors: ViewFactors) => number | undefined): Float32Array {
  const out = new Float32Array(rows * p);
  for (const { factors, column } of parts) {
    const { rank, projection } = factors;
    const start = first(factors);
    if (start === undefined) continue;
    for (let k = 0; k < rows; k++) {
      for (let j = 0; j < rank; j++) {
        const at = k * p + column + j;
        out[at] = (out[at] as number) + (projection[(start + k) * rank + j] as number);
      }
    }
  }
  return out;
}

function neededOf({ dimensions, id }: Encoder): EncoderNeeded {
  return { dimensions, ...(id !== undefined && { id }) };
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

/**
 * The factors with ψ's dimensions from `kept` on brought to mean square 1 over the training conversations, what they were divided by,
 * and ψ of those conversations. @param added to the projection of each conversation: conversations × rank
 */
export function normalised(factors: ViewFactors, kept = 0, added?: Float32Array) {
  const { view, rank, projection, vectors } = factors;
  const { dimensions, coordinates } = view;
  const count = view.rows.starts.length - 1;
  const psi = new Float32Array(count * rank);
  const sums = new Float64Array(rank);
  const row = new Float64Array(rank);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < rank; j++) row[j] = added?.[i * rank + j] ?? 0;
    for (let k = 0; k < dimensions; k++) {
      const z = coordinates[i * dimensions + k] as number;
      for (let j = 0; j < rank; j++) row[j] = (row[j] as number) + z * (projection[k * rank + j] as number);
    }
    psi.set(row, i * rank);
    for (let j = 0; j < rank; j++) sums[j] = (sums[j] as number) + (row[j] as number) ** 2;
  }
  const scale = sums.map((sum, j) => (sum > 0 && j >= kept ? Math.sqrt(sum / count) : 1));
  return {
    scale,
    psi: psi.map((value, i) => value / (scale[i % rank] as number)),
    factors: {
      ...factors,
      projection: projection.map((value, i) => value / (scale[i % rank] as number)),
      vectors: vectors.map((value, i) => value * (scale[i % rank] as number)),
    },
  };
}

/** What each value adds to ψ: its rows of the projections come after those of the spectral coordinates. */
function attributeVectors(attributes: readonly KnownAttribute[], parts: readonly Part[], p: number) {
  const readout = readoutOf(parts, attributeWidth(attributes), p, ({ view }) => view.spectral);
  let row = 0;
  return attributes.map((attribute) => ({
    ...attribute,
    vectors: attribute.values.map(() => {
      const vector = Array.from({ length: p }, (_, j) => Math.fround(ATTRIBUTE_SCALE * (readout[row * p + j] as number)));
      row++;
      return vector;
    }),
  }));
}
