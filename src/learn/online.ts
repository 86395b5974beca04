/**
 * Going on learning: outcomes move the experts' posteriors in closed form, and the index follows.
 *
 * Between fits the feature space stays what the model learned; only experts move, each by its own outcomes, so nobody else is touched.
 * A space learned from few outcomes has few directions, and no update adds one: so `refit` learns anew when outcomes have grown by half
 * (`due`), and puts a new version in the place of the old while requests and outcomes come in. Fits of n, 1.5n, 2.25n … outcomes cost three
 * times the last of them at most, however long the stream. Decisions carry the version that made them; `versions` says what it was.
 */
import type { ExpertIndex } from '../engine/index.js';
import { checkOptions, PointsmanError } from '../errors.js';
import { Random } from '../random.js';
import type { Interaction, Objective, OutcomeTable, TaskOptions } from '../types.js';
import { openBeliefs, saveBeliefs } from './beliefs-file.js';
import { ModelEncoder } from './encoder.js';
import { asTable, learn } from './input.js';
import { tableOf } from './interactions.js';
import type { LearnOptions } from './learn.js';
import { type LiveModelParts, LiveVersion, type ModelVersion } from './live.js';
import type { LearnedModel } from './model.js';

export interface OnlineOptions extends TaskOptions {
  /** After how many milliseconds an outcome counts half; the outcomes must then say when (`at`). Default: they count for ever. */
  halfLife?: number | undefined;
  threads?: number | undefined;
}

type Replay = (live: LiveVersion) => Promise<void>;

/** Of outcomes, from one fit to the next (docs/learning.md has what others would give). */
const GROWTH = 1.5;

export class OnlineLearner {
  #live: LiveVersion;
  readonly #past: ModelVersion[];
  readonly #options: OnlineOptions;
  /** What came in since a refit began, to be done again on what it learns. */
  #since: Replay[] | undefined;
  #refitting = false;
  /** Writes go one after another, in the order in which they were asked for. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(live: LiveVersion, options: OnlineOptions, past: ModelVersion[] = []) {
    this.#live = live;
    this.#options = options;
    this.#past = past;
  }

  /**
   * Goes on from a model as it was learned. An opened model's own index becomes the live one: one learner for each opening.
   * @throws PointsmanError NO_BELIEFS for a model without beliefs, CLOSED for an opened one that was closed, BAD_ARGUMENT for an impossible half-life
   */
  static async start(model: LearnedModel, options: OnlineOptions = {}): Promise<OnlineLearner> {
    checkOnline(options);
    const beliefs = model.beliefs();
    return new OnlineLearner(new LiveVersion(model, await model.index(options), beliefs, options.halfLife), options);
  }

  /**
   * Goes on from what `save` wrote, with the model that was its `model` then.
   * @throws PointsmanError FILE_MISSING, FILE_IO, FILE_CORRUPT, CLOSED as `start`, FILE_VERSION where the state belongs to another model
   */
  static async open(path: string, model: LearnedModel, options: OnlineOptions = {}): Promise<OnlineLearner> {
    checkOnline(options);
    const { parameters } = model.beliefs();
    const { beliefs, heard, updates, past } = await openBeliefs(path, parameters, model.version);
    const index = await model.index(options);
    const live = new LiveVersion(model, index, beliefs, options.halfLife, heard, updates);
    const here = new Set(beliefs.ids);
    await index.remove([...index.ids()].filter((id) => !here.has(id)));
    await live.publish([...beliefs.ids.keys()], options);
    return new OnlineLearner(live, options, [...past]);
  }

  /** Of the present version; `refit` replaces it. */
  get model(): LearnedModel {
    return this.#live.model;
  }

  /** The live index of the present version. `Router.from(learner)` searches it, and follows to the next. */
  get index(): ExpertIndex {
    return this.#live.index;
  }

  /** What a router is made of, at present. */
  get parts(): LiveModelParts {
    return this.#live.parts;
  }

  /** Values of metrics taken in since the model was learned: a record with stars and a length has two. */
  get updates(): number {
    return this.#live.updates;
  }

  /** Experts that something is believed of. */
  get size(): number {
    return this.#live.beliefs.ids.length;
  }

  /** Every version so far, the present one last. */
  get versions(): readonly ModelVersion[] {
    return [...this.#past, this.#live.described];
  }

  /** Have outcomes grown `growth` times since the model was learned, so that it is time for `refit`? @throws PointsmanError BAD_ARGUMENT */
  due(growth = GROWTH): boolean {
    if (!(growth > 1)) throw new PointsmanError('BAD_ARGUMENT', `growth must be a number above 1, not ${String(growth)}`);
    const { model, updates } = this.#live;
    return updates >= (growth - 1) * model.parameters.chosen.outcomes;
  }

  /**
   * Adds an expert before its first outcome: its scores in the named dimensions (NaN where missing) are all there is to go by, without
   * them the population.
   * @throws PointsmanError DUPLICATE_ID, BAD_ARGUMENT, WRONG_SHAPE
   */
  async add(expert: string, scores?: ArrayLike<number>): Promise<void> {
    if (typeof expert !== 'string' || expert === '') throw new PointsmanError('BAD_ARGUMENT', 'an expert needs a name');
    await this.#inTurn(() => {
      if (scores !== undefined) checkScores(scores, namedDimensions(this.#live));
      return this.#live.add([[expert, scores]]);
    });
  }

  /**
   * Takes in outcomes, in their order. Experts that are not known yet join with the population to go by. All or nothing, but for a
   * failure of the index itself.
   * @throws PointsmanError BAD_DATA, BAD_ARGUMENT, ABORTED
   */
  async update(interactions: Iterable<Interaction>, options: TaskOptions = {}): Promise<void> {
    checkOptions(options, undefined, 'update');
    const table = tableOf(interactions);
    await this.#inTurn(async () => {
      await this.#live.take(table, options);
      this.#since?.push((live) => live.take(table));
    });
  }

  /** Lets all outcomes grow old to this moment (milliseconds since 1970): an expert that nobody asks fades to its prior. */
  async age(now: number, options: TaskOptions = {}): Promise<void> {
    checkOptions(options, undefined, 'age');
    if (this.#options.halfLife === undefined) throw new PointsmanError('BAD_ARGUMENT', 'without a half-life outcomes do not grow old');
    if (!Number.isFinite(now)) throw new PointsmanError('BAD_ARGUMENT', 'now must be a time in milliseconds');
    await this.#inTurn(async () => {
      await this.#live.age(now, options);
      this.#since?.push((live) => live.age(now, {}));
    });
  }

  /**
   * Learns anew and puts the new version in the place of the old one, which answers until then; a failure leaves it there.
   * Outcomes that come in meanwhile reach both. Experts that the log does not name stay, with their scores or the population to go by.
   *
   * @param log all outcomes to learn from, those that `update` was given before this call included; with a half-life those of the last few
   * half-lives, since learning weighs all alike
   * @param options as for `learn`: `content`, `attributes` and `ranks` must be given again; the default of `encoder` is the present model's
   * @returns the new model: save it before the learner's state, which belongs to it
   * @throws PointsmanError as `learn`; BAD_ARGUMENT while another refit is under way
   */
  async refit(log: Iterable<Interaction> | OutcomeTable, options: Omit<LearnOptions, 'beliefs'> = {}): Promise<LearnedModel> {
    checkOptions(options, undefined, 'refit');
    if (this.#refitting) throw new PointsmanError('BAD_ARGUMENT', 'a refit is under way');
    const table = asTable(log);
    const { halfLife, threads } = this.#options;
    if (halfLife !== undefined && !table.at)
      throw new PointsmanError('BAD_ARGUMENT', 'with a half-life every outcome must say when it was (at)');
    this.#refitting = true;
    try {
      const since: Replay[] = [];
      // In turn: outcomes that were given before this call are the log's, even if they are not taken in yet.
      await this.#inTurn(async () => {
        this.#since = since;
      });
      const { encoder } = this.model;
      const own = encoder instanceof ModelEncoder ? encoder.base : undefined;
      const model = await learn(table, { threads, ...options, encoder: options.encoder ?? own, beliefs: true });
      const next = new LiveVersion(model, await model.index({ threads }), model.beliefs(), halfLife);
      next.remember(table);
      await this.#inTurn(async () => {
        await next.add(left(this.#live, next));
        for (const again of since) await again(next);
        this.#past.push(this.#live.described);
        this.#live = next;
      });
      return model;
    } finally {
      this.#since = undefined;
      this.#refitting = false;
    }
  }

  /**
   * The standard deviation of an expert's score for one conversation's ψ in the present space (p numbers).
   * @throws PointsmanError UNKNOWN_EXPERT
   */
  deviation(expert: string, psi: Float32Array, objective: Objective): number {
    return this.#live.deviation(expert, psi, objective);
  }

  /** A draw of an expert's vector from its posterior. @throws PointsmanError UNKNOWN_EXPERT */
  draw(expert: string, seed: number): Float32Array {
    return this.#live.beliefs.draw(expert, new Random(seed));
  }

  /** Writes the state (beliefs-file.ts); an earlier file stays whole until the new one is. @throws PointsmanError FILE_IO */
  async save(path: string): Promise<void> {
    await this.#inTurn(() => {
      const { beliefs, model, updates, heard } = this.#live;
      return saveBeliefs(path, { beliefs, modelVersion: model.version, updates, heard, past: this.#past });
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

const namedDimensions = ({ beliefs }: LiveVersion): readonly string[] => beliefs.parameters.content?.dimensions ?? [];

/** Experts that the next version does not know yet, with their scores where both have the same named dimensions. */
function left(present: LiveVersion, next: LiveVersion): [string, Float32Array?][] {
  const named = namedDimensions(present);
  const same = named.length > 0 && String(named) === String(namedDimensions(next));
  return [...present.beliefs.ids.entries()].flatMap(([place, id]): [string, Float32Array?][] => {
    if (next.beliefs.place(id) !== undefined) return [];
    return [same ? [id, present.beliefs.scores.slice(place * named.length, (place + 1) * named.length)] : [id]];
  });
}

/** @throws PointsmanError WRONG_SHAPE, BAD_ARGUMENT */
function checkScores(scores: ArrayLike<number>, named: readonly string[]): void {
  if (scores === null || typeof scores !== 'object')
    throw new PointsmanError('BAD_ARGUMENT', `scores must be an array of numbers, not ${String(scores)}`);
  if (scores.length !== named.length)
    throw new PointsmanError('WRONG_SHAPE', `scores must have ${named.length} numbers, one a named dimension`);
  for (let d = 0; d < scores.length; d++) {
    if (typeof scores[d] !== 'number' || Math.abs(scores[d] as number) === Number.POSITIVE_INFINITY)
      throw new PointsmanError('BAD_ARGUMENT', `the score in ${named[d]} must be a number, NaN where it is missing`);
  }
}

function checkOnline(options: OnlineOptions): void {
  checkOptions(options, ['halfLife', 'threads', 'signal', 'onProgress'], 'the online learner');
  const { halfLife } = options;
  if (halfLife !== undefined && !(Number.isFinite(halfLife) && halfLife > 0)) {
    throw new PointsmanError('BAD_ARGUMENT', `halfLife must be a positive number of milliseconds, not ${String(halfLife)}`);
  }
}
