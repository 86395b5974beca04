/**
 * One version of a model that goes on learning: the space as it was learned, what is believed of the experts by now, and the live
 * index with their vectors.
 *
 * With a half-life, an expert's old outcomes count 2^(−age / half-life) when it hears of the next one, or at `age`.
 */
import type { ExpertIndex } from '../engine/index.js';
import { PointsmanError } from '../errors.js';
import type { Encoder, MetricName, Objective, OutcomeTable, TaskOptions } from '../types.js';
import type { Beliefs } from './beliefs.js';
import { METRICS } from './metrics.js';
import type { LearnedModel } from './model.js';

/** What a router needs of a version; it never changes, so a request that holds it is answered by one version whole. */
export interface LiveModelParts {
  readonly encoder: Encoder;
  readonly scorer: ExpertIndex;
  readonly space: LearnedModel;
  readonly uncertainty: { deviation(expert: string, psi: Float32Array, objective: Objective): number };
}

/** A version of the model, for decisions that name it. */
export interface ModelVersion {
  version: string;
  metrics: readonly MetricName[];
  /** What a decision's `projection` and `contributions.dimensions` are about. */
  dimensionNames: readonly string[];
  /** Values of metrics that it was learned from, and that it took in afterwards. */
  outcomes: number;
  updates: number;
}

export class LiveVersion {
  readonly model: LearnedModel;
  readonly index: ExpertIndex;
  readonly beliefs: Beliefs;
  readonly parts: LiveModelParts;
  /** Values of metrics taken in since the model was learned. */
  updates: number;
  readonly #halfLife: number | undefined;
  #heard: Float64Array;

  /** @param heard when each expert was last heard of, milliseconds since 1970; NaN: never */
  constructor(model: LearnedModel, index: ExpertIndex, beliefs: Beliefs, halfLife?: number, heard?: Float64Array, updates = 0) {
    this.model = model;
    this.index = index;
    this.beliefs = beliefs;
    this.updates = updates;
    this.parts = { encoder: model.encoder, scorer: index, space: model, uncertainty: this };
    this.#halfLife = halfLife;
    this.#heard = heard ?? new Float64Array(beliefs.ids.length).fill(Number.NaN);
  }

  get described(): ModelVersion {
    const { version, metrics, dimensionNames, parameters } = this.model;
    return { version, metrics, dimensionNames, outcomes: parameters.chosen.outcomes, updates: this.updates };
  }

  get heard(): Float64Array {
    return this.#heard.slice(0, this.beliefs.ids.length);
  }

  /** @throws PointsmanError UNKNOWN_EXPERT */
  deviation(expert: string, psi: Float32Array, objective: Objective): number {
    return this.beliefs.deviationOf(
      expert,
      psi,
      this.model.metrics.map((metric) => objective[metric] ?? 0),
    );
  }

  /** Notes when the experts of a log were last heard of, so that its outcomes grow old from there. */
  remember({ experts, expert, at }: OutcomeTable): void {
    if (!at) return;
    for (const [n, e] of expert.entries()) {
      const place = this.beliefs.place(experts[e] as string);
      const time = at[n] as number;
      if (place !== undefined && !Number.isNaN(time)) this.#hear(place, time);
    }
  }

  /** Adds experts with nothing but their scores to go by. @throws PointsmanError DUPLICATE_ID */
  async add(newcomers: readonly (readonly [expert: string, scores?: ArrayLike<number> | undefined])[]): Promise<void> {
    await this.publish(newcomers.map(([expert, scores]) => this.#newcomer(expert, scores)));
  }

  /** Takes in outcomes in their order; unknown experts join. @throws PointsmanError BAD_ARGUMENT, ABORTED */
  async take(table: OutcomeTable, { signal }: TaskOptions = {}): Promise<void> {
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
      const place = this.beliefs.place(expert) ?? this.#newcomer(expert);
      const at = table.at?.[n] ?? Number.NaN;
      if (!Number.isNaN(at)) {
        this.#grow(place, at);
        this.#hear(place, at);
      }
      const c = table.conversation[n] as number;
      const row = psi.subarray(c * p, (c + 1) * p);
      for (const [r, { name, mean, deviation, expected }] of this.model.parameters.metrics.entries()) {
        const y = table.metrics[name]?.[n] ?? Number.NaN;
        if (Number.isNaN(y)) continue;
        const rest = (METRICS[name].scale(y) - mean) / deviation - expected - (row[p - this.model.metrics.length + r] as number);
        this.beliefs.observe(place, r, row, rest);
        this.updates++;
      }
      moved.add(place);
    }
    await this.publish([...moved]);
  }

  /** Lets all outcomes grow old to this moment. */
  async age(now: number, options: TaskOptions): Promise<void> {
    const places = [...this.#heard.subarray(0, this.beliefs.ids.length).keys()].filter((place) => this.#grow(place, now));
    await this.publish(places, options);
  }

  /** Upserts the vectors of the experts at these places. */
  async publish(places: readonly number[], options: TaskOptions = {}): Promise<void> {
    if (places.length === 0) return;
    const width = this.index.dimensions;
    const vectors = new Float32Array(places.length * width);
    for (const [i, place] of places.entries()) vectors.set(this.beliefs.vector(place), i * width);
    await this.index.upsert(
      places.map((place) => this.beliefs.ids[place] as string),
      vectors,
      options,
    );
  }

  #newcomer(expert: string, scores?: ArrayLike<number>): number {
    const place = this.beliefs.add(expert, scores);
    if (place >= this.#heard.length) {
      const grown = new Float64Array(Math.max(16, 2 * place)).fill(Number.NaN);
      grown.set(this.#heard);
      this.#heard = grown;
    }
    this.#heard[place] = Number.NaN;
    return place;
  }

  #hear(place: number, at: number): void {
    this.#heard[place] = Math.max(at, this.#heard[place] || at);
  }

  /** @returns whether something was forgotten */
  #grow(place: number, now: number): boolean {
    const since = now - (this.#heard[place] as number);
    if (this.#halfLife === undefined || !(since > 0)) return false;
    for (const posterior of this.beliefs.posteriors) posterior.forget(place, 2 ** (-since / this.#halfLife));
    this.#heard[place] = now;
    return true;
  }
}
