/**
 * What is believed of every expert of a model: its scores in the named dimensions, and for each metric the posterior of its own part.
 *
 * An expert's block of metric r is  [scores at r's named dimensions | population + V^½ u at the experts' dimensions | bias], where the
 * last component of u belongs to the bias. Everything that routing needs of an expert follows from its scores and its u.
 */
import { PointsmanError, someOf } from '../errors.js';
import type { Random } from '../random.js';
import { type Content, type ContentParameters, contentOf } from './content.js';
import type { Posterior } from './posterior.js';

/** What is frozen of the hierarchy, in the coordinates of ψ; n is `dimensions` + 1, the bias last. */
export interface BeliefParameters {
  /** Columns of a posterior. */
  rank: number;
  /** The dimensions of ψ that experts' own parts are about: `dimensions` of them, from `first` on. */
  first: number;
  dimensions: number;
  /** Dimensions of ψ in all. */
  p: number;
  metrics: {
    /** Mean square of what predictions leave of an outcome. */
    noise: number;
    /** V, n */
    variance: number[];
    /** n */
    population: number[];
    /** n × scores: what a standard deviation of a score adds to an expert's coefficients. */
    map: number[];
  }[];
  content?: ContentParameters;
}

export class Beliefs {
  readonly parameters: BeliefParameters;
  readonly posteriors: readonly Posterior[];
  readonly #ids: string[];
  readonly #places: Map<string, number>;
  /** experts × scores, holes filled */
  #scores: Float32Array;

  /** @param scores experts × scores */
  constructor(parameters: BeliefParameters, ids: readonly string[], scores: Float32Array, posteriors: readonly Posterior[]) {
    this.parameters = parameters;
    this.posteriors = posteriors;
    this.#ids = [...ids];
    this.#places = new Map(ids.map((id, place) => [id, place]));
    this.#scores = scores;
  }

  get ids(): readonly string[] {
    return this.#ids;
  }

  /** experts × scores */
  get scores(): Float32Array {
    return this.#scores.subarray(0, this.#ids.length * this.#width);
  }

  /** Components of an expert's vector. */
  get dimensions(): number {
    return this.parameters.metrics.length * (this.parameters.p + 1);
  }

  place(id: string): number | undefined {
    return this.#places.get(id);
  }

  /** A copy that goes its own way. */
  copy(): Beliefs {
    const posteriors = this.posteriors.map((each) => each.copy());
    return new Beliefs(this.parameters, this.#ids, this.scores.slice(), posteriors);
  }

  /**
   * A new expert, with nothing but its scores (NaN, or none at all, where they are not known) to go by.
   * @returns its place @throws PointsmanError DUPLICATE_ID
   */
  add(id: string, scores?: ArrayLike<number>): number {
    if (this.#places.has(id)) throw new PointsmanError('DUPLICATE_ID', `the expert ${someOf([id])} is there already`);
    const content = this.content(scores);
    const place = this.#ids.push(id) - 1;
    this.#places.set(id, place);
    if ((place + 1) * this.#width > this.#scores.length) {
      const grown = new Float32Array(Math.max(16, 2 * place) * this.#width);
      grown.set(this.#scores);
      this.#scores = grown;
    }
    this.#scores.set(content.scores, place * this.#width);
    for (const [r, posterior] of this.posteriors.entries()) posterior.add(this.prior(r, content));
    return place;
  }

  /** @param scores one a named dimension, NaN where missing */
  content(scores?: ArrayLike<number>): Content {
    const { content } = this.parameters;
    if (!content) return { scores: [] };
    return contentOf(content, scores ?? content.mean.map(() => Number.NaN));
  }

  /** Prior precisions of u where they are not 1: what is not known of an expert's scores widens its prior. */
  prior(r: number, { unknown }: Content): Float32Array | undefined {
    if (unknown === undefined) return undefined;
    const { variance, map } = this.parameters.metrics[r] as BeliefParameters['metrics'][number];
    const D = this.#width;
    return Float32Array.from(variance, (v, j) => {
      let extra = 0;
      for (let a = 0; a < D; a++) {
        for (let b = 0; b < D; b++) extra += (map[j * D + a] as number) * (unknown[a * D + b] as number) * (map[j * D + b] as number);
      }
      return v / (v + Math.max(0, extra));
    });
  }

  /** The expert's vector, R(p + 1). */
  vector(place: number): Float32Array {
    const out = new Float32Array(this.dimensions);
    for (const [r, posterior] of this.posteriors.entries()) this.#block(r, place, posterior.mean(place), out, r * (this.parameters.p + 1));
    return out;
  }

  /** One outcome: `rest` is what it was beyond the conversation's expected one, in standard deviations. @param psi one row, p */
  observe(place: number, r: number, psi: Float32Array, rest: number): void {
    const { noise } = this.parameters.metrics[r] as BeliefParameters['metrics'][number];
    const { p } = this.parameters;
    const prior = new Float32Array(p + 1);
    this.#block(r, place, undefined, prior, 0);
    let expected = prior[p] as number;
    for (let j = 0; j < p; j++) expected += (prior[j] as number) * (psi[j] as number);
    const scale = 1 / Math.sqrt(noise);
    const z = this.#coordinates(r, psi);
    for (let j = 0; j < z.length; j++) z[j] = (z[j] as number) * scale;
    this.posteriors[r]?.observe(place, z, (rest - expected) * scale);
  }

  /**
   * The standard deviation of Σ_r α_r·ŷ_r, metrics taken as independent.
   * @param psi one row, p @param weights α, one a metric @throws PointsmanError UNKNOWN_EXPERT
   */
  deviationOf(expert: string, psi: Float32Array, weights: readonly number[]): number {
    const place = this.#placeOf(expert);
    let variance = 0;
    for (const [r, posterior] of this.posteriors.entries()) {
      const alpha = weights[r] ?? 0;
      if (alpha !== 0) variance += alpha * alpha * posterior.variance(place, this.#coordinates(r, psi));
    }
    return Math.sqrt(variance);
  }

  /** A draw of an expert's vector from what is believed of it. @throws PointsmanError UNKNOWN_EXPERT */
  draw(expert: string, random: Random): Float32Array {
    const place = this.#placeOf(expert);
    const out = new Float32Array(this.dimensions);
    for (const [r, posterior] of this.posteriors.entries()) {
      this.#block(r, place, posterior.draw(place, random), out, r * (this.parameters.p + 1));
    }
    return out;
  }

  #placeOf(expert: string): number {
    const place = this.#places.get(expert);
    if (place === undefined) throw new PointsmanError('UNKNOWN_EXPERT', `nothing is believed of the expert ${someOf([expert])}`);
    return place;
  }

  get #width(): number {
    return this.parameters.content?.dimensions.length ?? 0;
  }

  /** V^½ x̃ */
  #coordinates(r: number, psi: Float32Array): Float64Array {
    const { variance } = this.parameters.metrics[r] as BeliefParameters['metrics'][number];
    const { first, dimensions } = this.parameters;
    return Float64Array.from(variance, (v, j) => Math.sqrt(v) * (j < dimensions ? (psi[first + j] as number) : 1));
  }

  /** The block of metric r for the given u (none: the prior's mean), p + 1 numbers from `at` on. */
  #block(r: number, place: number, u: ArrayLike<number> | undefined, out: Float32Array, at: number): void {
    const { first, dimensions, p } = this.parameters;
    const { variance, population } = this.parameters.metrics[r] as BeliefParameters['metrics'][number];
    const D = this.#width;
    for (let d = 0; d < D; d++) out[at + r * D + d] = this.#scores[place * D + d] as number;
    for (let j = 0; j <= dimensions; j++) {
      const value = (population[j] as number) + (u ? Math.sqrt(variance[j] as number) * (u[j] as number) : 0);
      out[at + (j < dimensions ? first + j : p)] = value;
    }
  }
}
