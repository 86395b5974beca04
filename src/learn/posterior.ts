/**
 * What is believed of many experts' parameters u ∈ ℝⁿ, compactly: u ~ N(mean, P⁻¹), P = diag(d) + Σ_k a_k a_kᵀ with `rank` columns,
 * prior N(0, diag(d₀)⁻¹). 4·n·(2 + rank) bytes an expert, against 2·n·(n + 1) for the whole covariance.
 *
 * An outcome t = ⟨z, u⟩ + N(0, 1) adds z zᵀ to P and moves the mean by P⁻¹ z (t − ⟨z, mean⟩), with P of rank + 1 columns. Then the
 * columns are turned so that they are orthogonal under diag(d)⁻¹, and the weakest is left to the diagonal: exact up to `rank`
 * outcomes, after them the low-rank filter of Chang, Durán-Martín, Shestopaloff, Jones and Murphy (CoLLAs 2023). A step costs O(n·rank²).
 *
 * Numbers are kept as float32, computed as float64 in a fixed order with +, −, ×, ÷ and roots alone: the same outcomes give the
 * same bits everywhere.
 */
import type { Random } from '../random.js';

export class Posterior {
  readonly n: number;
  readonly rank: number;
  #size = 0;
  #mean: Float32Array = new Float32Array(0);
  #diagonal: Float32Array = new Float32Array(0);
  #columns: Float32Array = new Float32Array(0);
  /** d₀ where it is not 1. */
  readonly #priors = new Map<number, Float32Array>();
  // Scratch: rank + 1 columns, their products, and what a step moves by.
  readonly #basis: Float64Array;
  readonly #kappa: Float64Array;
  readonly #step: Float64Array;

  constructor(n: number, rank: number) {
    this.n = n;
    this.rank = rank;
    this.#basis = new Float64Array((rank + 1) * n);
    this.#kappa = new Float64Array(rank + 1);
    this.#step = new Float64Array(n);
  }

  /** Takes over what was learned of `size` experts; the arrays become its own. */
  static of(
    n: number,
    rank: number,
    size: number,
    parts: { mean: Float32Array; diagonal: Float32Array; columns: Float32Array },
  ): Posterior {
    const out = new Posterior(n, rank);
    out.#size = size;
    out.#mean = parts.mean;
    out.#diagonal = parts.diagonal;
    out.#columns = parts.columns;
    return out;
  }

  copy(): Posterior {
    const { mean, diagonal, columns } = this.parts();
    const out = Posterior.of(this.n, this.rank, this.#size, { mean: mean.slice(), diagonal: diagonal.slice(), columns: columns.slice() });
    for (const [place, prior] of this.#priors) out.#priors.set(place, prior);
    return out;
  }

  get size(): number {
    return this.#size;
  }

  /** An expert without outcomes, its prior precision d₀ where it is not 1. @returns its place */
  add(prior?: Float32Array): number {
    const place = this.#size++;
    if (place * this.n >= this.#mean.length) {
      const room = Math.max(16, 2 * place);
      this.#mean = grown(this.#mean, room * this.n);
      this.#diagonal = grown(this.#diagonal, room * this.n);
      this.#columns = grown(this.#columns, room * this.n * this.rank);
    }
    if (prior) this.#priors.set(place, prior);
    for (let j = 0; j < this.n; j++) this.#diagonal[place * this.n + j] = prior?.[j] ?? 1;
    return place;
  }

  mean(place: number): Float32Array {
    return this.#mean.subarray(place * this.n, (place + 1) * this.n);
  }

  /** The arrays of all experts and the priors that are not 1, for writing. */
  parts() {
    const cut = (all: Float32Array, width: number) => all.subarray(0, this.#size * width);
    return {
      mean: cut(this.#mean, this.n),
      diagonal: cut(this.#diagonal, this.n),
      columns: cut(this.#columns, this.n * this.rank),
      priors: this.#priors as ReadonlyMap<number, Float32Array>,
    };
  }

  /** Gives an expert that has outcomes a prior precision of its own. */
  widen(place: number, prior: Float32Array): void {
    const diagonal = this.#diagonalOf(place);
    for (let j = 0; j < this.n; j++) diagonal[j] = (diagonal[j] as number) - 1 + (prior[j] as number);
    this.setPrior(place, prior);
  }

  setPrior(place: number, prior: Float32Array): void {
    this.#priors.set(place, prior);
  }

  /** One outcome: t = ⟨z, u⟩ + N(0, 1). */
  observe(place: number, z: Float64Array, t: number): void {
    const { n, rank } = this;
    const [mean, diagonal] = [this.mean(place), this.#diagonalOf(place)];
    this.#load(place);
    this.#basis.set(z, rank * n);
    this.#turn(diagonal, rank + 1);
    let error = t;
    for (let j = 0; j < n; j++) error -= (z[j] as number) * (mean[j] as number);
    this.#solve(diagonal, rank + 1, z);
    for (let j = 0; j < n; j++) mean[j] = (mean[j] as number) + error * (this.#step[j] as number);
    const weakest = this.#weakest(rank + 1);
    const columns = this.#columnsOf(place);
    for (let k = 0, to = 0; k <= rank; k++) {
      for (let j = 0; j < n; j++) {
        const a = this.#basis[k * n + j] as number;
        if (k === weakest) diagonal[j] = (diagonal[j] as number) + a * a;
        else columns[to * n + j] = a;
      }
      if (k !== weakest) to++;
    }
  }

  /** Old outcomes count `keep` times as much as they did, 0 < keep ≤ 1; the prior stays. */
  forget(place: number, keep: number): void {
    const { n, rank } = this;
    const [mean, diagonal, columns] = [this.mean(place), this.#diagonalOf(place), this.#columnsOf(place)];
    const prior = this.#priors.get(place);
    const natural = new Float64Array(n); // P·mean, to which the prior adds nothing
    for (let j = 0; j < n; j++) natural[j] = keep * (diagonal[j] as number) * (mean[j] as number);
    for (let k = 0; k < rank; k++) {
      let product = 0;
      for (let j = 0; j < n; j++) product += (columns[k * n + j] as number) * (mean[j] as number);
      for (let j = 0; j < n; j++) natural[j] = (natural[j] as number) + keep * product * (columns[k * n + j] as number);
    }
    const root = Math.sqrt(keep);
    for (let i = 0; i < columns.length; i++) columns[i] = root * (columns[i] as number);
    for (let j = 0; j < n; j++) {
      const start = prior?.[j] ?? 1;
      diagonal[j] = start + keep * ((diagonal[j] as number) - start);
    }
    this.#load(place);
    this.#turn(diagonal, rank);
    this.#solve(diagonal, rank, natural);
    for (let j = 0; j < n; j++) mean[j] = this.#step[j] as number;
  }

  /** The variance of ⟨z, u⟩: zᵀ P⁻¹ z. */
  variance(place: number, z: Float64Array): number {
    const diagonal = this.#diagonalOf(place);
    this.#load(place);
    this.#turn(diagonal, this.rank);
    this.#solve(diagonal, this.rank, z);
    let sum = 0;
    for (let j = 0; j < this.n; j++) sum += (z[j] as number) * (this.#step[j] as number);
    return Math.max(0, sum);
  }

  /** A draw of u: mean + P⁻¹ (diag(d)^½ ε + Σ a_k ε_k), whose covariance is P⁻¹. */
  draw(place: number, random: Random): Float64Array {
    const { n, rank } = this;
    const diagonal = this.#diagonalOf(place);
    const noise = new Float64Array(n);
    for (let j = 0; j < n; j++) noise[j] = Math.sqrt(diagonal[j] as number) * random.normal();
    this.#load(place);
    for (let k = 0; k < rank; k++) {
      const epsilon = random.normal();
      for (let j = 0; j < n; j++) noise[j] = (noise[j] as number) + epsilon * (this.#basis[k * n + j] as number);
    }
    this.#turn(diagonal, rank);
    this.#solve(diagonal, rank, noise);
    const mean = this.mean(place);
    return this.#step.map((step, j) => step + (mean[j] as number));
  }

  #diagonalOf(place: number): Float32Array {
    return this.#diagonal.subarray(place * this.n, (place + 1) * this.n);
  }

  #columnsOf(place: number): Float32Array {
    return this.#columns.subarray(place * this.n * this.rank, (place + 1) * this.n * this.rank);
  }

  #load(place: number): void {
    this.#basis.set(this.#columnsOf(place));
  }

  /** Turns the first `count` columns so that Aᵀ diag(d)⁻¹ A = diag(κ): one-sided Jacobi (Hestenes 1958). */
  #turn(diagonal: Float32Array, count: number): void {
    const { n } = this;
    const a = this.#basis;
    for (let sweep = 0; sweep < 12; sweep++) {
      let turned = false;
      for (let p = 0; p < count; p++) {
        for (let q = p + 1; q < count; q++) {
          let [pp, qq, pq] = [0, 0, 0];
          for (let j = 0; j < n; j++) {
            const x = a[p * n + j] as number;
            const y = a[q * n + j] as number;
            const weight = 1 / (diagonal[j] as number);
            pp += x * x * weight;
            qq += y * y * weight;
            pq += x * y * weight;
          }
          if (pq * pq <= 1e-20 * pp * qq) continue;
          turned = true;
          const ratio = (qq - pp) / (2 * pq);
          const tangent = (ratio >= 0 ? 1 : -1) / (Math.abs(ratio) + Math.sqrt(1 + ratio * ratio));
          const cosine = 1 / Math.sqrt(1 + tangent * tangent);
          const sine = cosine * tangent;
          for (let j = 0; j < n; j++) {
            const x = a[p * n + j] as number;
            const y = a[q * n + j] as number;
            a[p * n + j] = cosine * x - sine * y;
            a[q * n + j] = sine * x + cosine * y;
          }
        }
      }
      if (!turned) break;
    }
    for (let k = 0; k < count; k++) {
      let kappa = 0;
      for (let j = 0; j < n; j++) kappa += (a[k * n + j] as number) ** 2 / (diagonal[j] as number);
      this.#kappa[k] = kappa;
    }
  }

  /** P⁻¹ b into the step, by Woodbury's identity; the columns must be turned. */
  #solve(diagonal: Float32Array, count: number, b: Float64Array): void {
    const { n } = this;
    for (let j = 0; j < n; j++) this.#step[j] = (b[j] as number) / (diagonal[j] as number);
    for (let k = 0; k < count; k++) {
      let product = 0;
      for (let j = 0; j < n; j++) product += ((this.#basis[k * n + j] as number) * (b[j] as number)) / (diagonal[j] as number);
      product /= 1 + (this.#kappa[k] as number);
      for (let j = 0; j < n; j++) {
        this.#step[j] = (this.#step[j] as number) - (product * (this.#basis[k * n + j] as number)) / (diagonal[j] as number);
      }
    }
  }

  #weakest(count: number): number {
    let found = 0;
    for (let k = 1; k < count; k++) if ((this.#kappa[k] as number) < (this.#kappa[found] as number)) found = k;
    return found;
  }
}

function grown(values: Float32Array, length: number): Float32Array {
  const out = new Float32Array(length);
  out.set(values);
  return out;
}
