/**
 * Going on learning: outcomes move the experts' posteriors in closed form, and the index follows.
 *
 * The feature space stays what the model learned; only experts move, each by its own outcomes, so nobody else is touched. A later
 * `learn` replaces the space under a new version: decisions carry the version of the model that made them.
 *
 * With a half-life, an expert's old outcomes count 2^(−age / half-life) when it hears of the next one, or at `age`.
 */
import type { ExpertIndex } from '../engine/index.js';
import { checkOptions, PointsmanError, someOf } from '../errors.js';
import { Random } from '../random.js';
import type { Interaction, MetricName, Objective, OutcomeTable, TaskOptions } from '../types.js';
import type { Beliefs } from './beliefs.js';
import { openBeliefs, saveBeliefs } from './beliefs-file.js';
import { tableOf } from './interactions.js';
import { METRICS } from './metrics.js';
import type { LearnedModel } from './model.js';

export interface OnlineOptions extends TaskOptions {
  /** After how many milliseconds an outcome counts half; the outcomes must then say when (`at`). Default: they count for ever. */
  halfLife?: number | undefined;
  threads?: number | undefined;
}

export class OnlineLearner {
  readonly model: LearnedModel;
  /** The live index: route with it. */
  readonly index: ExpertIndex;
  readonly #beliefs: Beliefs;
  readonly #halfLife: number | undefined;
  #heard: Float64Array;
  #updates: number;
  /** Writes go one after another, in the order in which they were asked for. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(model: LearnedModel, index: ExpertIndex, beliefs: Beliefs, heard: Float64Array, updates: number, halfLife?: number) {
    this.model = model;
    this.index = index;
    this.#beliefs = beliefs;
    this.#heard = heard;
    this.#updates = updates;
    this.#halfLife = halfLife;
  }

  /** Goes on from a model as it was learned. An opened model's own index becomes the live one: one learner for each opening. @throws PointsmanError BAD_ARGUMENT for a model without beliefs or an impossible half-life */
  static async start(model: LearnedModel, options: OnlineOptions = {}): Promise<OnlineLearner> {
    const halfLife = checkOnline(options);
    const beliefs = model.beliefs();
    return new OnlineLearner(
      model,
      await model.index(options),
      beliefs,
      new Float64Array(beliefs.ids.length).fill(Number.NaN),
      0,
      halfLife,
    );
  }

  /**
   * Goes on from what `save` wrote, with the model that it was started from.
   * @throws PointsmanError FILE_MISSING, FILE_IO, FILE_CORRUPT, FILE_VERSION where the state belongs to another model
   */
  static async open(path: string, model: LearnedModel, options: OnlineOptions = {}): Promise<OnlineLearner> {
    const halfLife = checkOnline(options);
    const { parameters } = model.beliefs();
    const { beliefs, heard, updates } = await openBeliefs(path, parameters, model.version);
    const index = await model.index(options);
    const learner = new OnlineLearner(model, index, beliefs, heard, updates, halfLife);
    const here = new Set(beliefs.ids);
    await index.remove([...index.ids()].filter((id) => !here.has(id)));
    await learner.#publish([...beliefs.ids.keys()], options);
    return learner;
  }

  /** Outcomes taken in since the model was learned. */
  get updates(): number {
    return this.#updates;
  }

  /** Experts that something is believed of. */
  get size(): number {
    return this.#beliefs.ids.length;
  }

  /**
   * Adds an expert before its first outcome: its scores in the named dimensions (NaN where missing) are all there is to go by, without
   * them the population.
   * @throws PointsmanError DUPLICATE_ID, BAD_ARGUMENT, WRONG_SHAPE
   */
  async add(expert: string, scores?: ArrayLike<number>): Promise<void> {
    if (typeof expert !== 'string' || expert === '') throw new PointsmanError('BAD_ARGUMENT', 'an expert needs a name');
    const named = this.#beliefs.parameters.content?.dimensions ?? [];
    if (scores !== undefined) {
      if (scores.length !== named.length)
        throw new PointsmanError('WRONG_SHAPE', `scores must have ${named.length} numbers, one a named dimension`);
      for (let d = 0; d < scores.length; d++) {
        if (typeof scores[d] !== 'number' || Math.abs(scores[d] as number) === Number.POSITIVE_INFINITY)
          throw new PointsmanError('BAD_ARGUMENT', `the score in ${named[d]} must be a number, NaN where it is missing`);
      }
    }
    await this.#inTurn(async () => this.#publish([this.#newcomer(expert, scores)], {}));
  }

  /**
   * Takes in outcomes, in their order. Experts that are not known yet join with the population to go by. All or nothing, but for a
   * failure of the index itself.
   * @throws PointsmanError BAD_DATA, BAD_ARGUMENT, ABORTED
   */
  async update(interactions: Iterable<Interaction>, options: TaskOptions = {}): Promise<void> {
    const table = tableOf(interactions);
    await this.#inTurn(() => this.#update(table, options));
  }

  /** Lets all outcomes grow old to this moment (milliseconds since 1970): an expert that nobody asks fades to its prior. */
  async age(now: number, options: TaskOptions = {}): Promise<void> {
    if (this.#halfLife === undefined) throw new PointsmanError('BAD_ARGUMENT', 'without a half-life outcomes do not grow old');
    if (!Number.isFinite(now)) throw new PointsmanError('BAD_ARGUMENT', 'now must be a time in milliseconds');
    await this.#inTurn(async () => {
      const places = [...this.#heard.subarray(0, this.size).keys()].filter((place) => this.#grow(place, now));
      await this.#publish(places, options);
    });
  }

  /** The standard deviation of an expert's score for one conversation's ψ; infinite for an expert that is not known. */
  deviation(expert: string, psi: Float32Array, objective: Objective): number {
    const place = this.#beliefs.place(expert);
    if (place === undefined) return Number.POSITIVE_INFINITY;
    return this.#beliefs.deviation(
      place,
      psi,
      this.model.metrics.map((metric) => objective[metric] ?? 0),
    );
  }

  /** A draw of an expert's vector from its posterior. @throws PointsmanError UNKNOWN_EXPERT */
  draw(expert: string, seed: number): Float32Array {
    const place = this.#beliefs.place(expert);
    if (place === undefined) throw new PointsmanError('UNKNOWN_EXPERT', `nothing is believed of the expert ${someOf([expert])}`);
    return this.#beliefs.draw(place, new Random(seed));
  }

  /** Writes the state (beliefs-file.ts); an earlier file stays whole until the new one is. @throws PointsmanError FILE_IO */
  async save(path: string): Promise<void> {
    await this.#inTurn(() => {
      const heard = this.#heard.slice(0, this.size);
      return saveBeliefs(path, { beliefs: this.#beliefs, modelVersion: this.model.version, updates: this.#updates, heard });
    });
  }

  async #update(table: OutcomeTable, { signal }: TaskOptions): Promise<void> {
    const count = table.conversation.length;
    if (count === 0) return;
    for (const name of Object.keys(table.metrics) as MetricName[]) {
      if (!this.model.metrics.includes(name))
        throw new PointsmanError('BAD_ARGUMENT', `the model has no metric '${name}', only ${this.model.metrics.join(', ')}`);
    }
    if (this.#halfLife !== undefined && !table.at) {
      throw new PointsmanError('BAD_ARGUMENT', 'with a half-life every outcome must say when it was (at)');
    }
    const text = await this.model.encoder.encode(table.conversations, { signal });
    const psi = table.attributes ? this.model.withAttributes(text, table.attributes) : text;
    const p = this.model.dimensionNames.length;
    const moved = new Set<number>();
    for (let n = 0; n < count; n++) {
      const expert = table.experts[table.expert[n] as number] as string;
      const place = this.#beliefs.place(expert) ?? this.#newcomer(expert);
      const at = table.at?.[n] ?? Number.NaN;
      if (!Number.isNaN(at)) {
        this.#grow(place, at);
        this.#heard[place] = Math.max(at, this.#heard[place] || at);
      }
      const c = table.conversation[n] as number;
      const row = psi.subarray(c * p, (c + 1) * p);
      for (const [r, { name, mean, deviation, expected }] of this.model.parameters.metrics.entries()) {
        const y = table.metrics[name]?.[n] ?? Number.NaN;
        if (Number.isNaN(y)) continue;
        const rest = (METRICS[name].scale(y) - mean) / deviation - expected - (row[p - this.model.metrics.length + r] as number);
        this.#beliefs.observe(place, r, row, rest);
      }
      moved.add(place);
      this.#updates++;
    }
    await this.#publish([...moved], {});
  }

  #newcomer(expert: string, scores?: ArrayLike<number>): number {
    const place = this.#beliefs.add(expert, scores);
    if (place >= this.#heard.length) {
      const grown = new Float64Array(Math.max(16, 2 * place)).fill(Number.NaN);
      grown.set(this.#heard);
      this.#heard = grown;
    }
    this.#heard[place] = Number.NaN;
    return place;
  }

  /** @returns whether something was forgotten */
  #grow(place: number, now: number): boolean {
    const since = now - (this.#heard[place] as number);
    if (this.#halfLife === undefined || !(since > 0)) return false;
    for (const posterior of this.#beliefs.posteriors) posterior.forget(place, 2 ** (-since / this.#halfLife));
    this.#heard[place] = now;
    return true;
  }

  async #publish(places: readonly number[], options: TaskOptions): Promise<void> {
    if (places.length === 0) return;
    const width = this.index.dimensions;
    const vectors = new Float32Array(places.length * width);
    for (const [i, place] of places.entries()) vectors.set(this.#beliefs.vector(place), i * width);
    await this.index.upsert(
      places.map((place) => this.#beliefs.ids[place] as string),
      vectors,
      options,
    );
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

function checkOnline(options: OnlineOptions): number | undefined {
  checkOptions(options, ['halfLife', 'threads', 'signal', 'onProgress'], 'the online learner');
  const { halfLife } = options;
  if (halfLife !== undefined && !(Number.isFinite(halfLife) && halfLife > 0)) {
    throw new PointsmanError('BAD_ARGUMENT', `halfLife must be a positive number of milliseconds, not ${String(halfLife)}`);
  }
  return halfLife;
}
