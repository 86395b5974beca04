// A histogram of latencies: logarithmic buckets, each octave divided into 2^precision equal parts, as in HdrHistogram
// (Tene 2012). Constant memory for any number of values, a relative error below 2^−precision, and sums of histograms are
// exact.

/** Values are integers ≥ 0 in the caller's unit (nanoseconds, mostly), up to 2^53; fractions are rounded. */
export class Histogram {
  #precision;
  #counts = new Float64Array(1024);
  #count = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = 0;

  /** @param precision bits of a value that are kept: 1–12 */
  constructor(precision = 9) {
    if (!Number.isInteger(precision) || precision < 1 || precision > 12) throw new RangeError('precision must be an integer from 1 to 12');
    this.#precision = precision;
  }

  /** How many values were recorded. */
  get count() {
    return this.#count;
  }
  /** Exact; NaN, like all that follow, where nothing was recorded. */
  get min() {
    return this.#count === 0 ? Number.NaN : this.#min;
  }
  get max() {
    return this.#count === 0 ? Number.NaN : this.#max;
  }
  get mean() {
    return this.#sum / this.#count;
  }

  record(value) {
    const x = Math.round(value);
    if (!(x >= 0 && x <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`a value must be from 0 to 2^53 − 1, not ${value}`);
    const bucket = this.#bucket(x);
    if (bucket >= this.#counts.length) this.#grow(bucket);
    this.#counts[bucket] += 1;
    this.#count += 1;
    this.#sum += x;
    if (x < this.#min) this.#min = x;
    if (x > this.#max) this.#max = x;
  }

  /** Adds what another histogram of the same precision holds. */
  add(other) {
    if (other.#precision !== this.#precision) throw new RangeError('histograms of different precision cannot be added');
    this.#grow(other.#counts.length - 1);
    for (let i = 0; i < other.#counts.length; i++) this.#counts[i] += other.#counts[i];
    this.#count += other.#count;
    this.#sum += other.#sum;
    this.#min = Math.min(this.#min, other.#min);
    this.#max = Math.max(this.#max, other.#max);
  }

  /** The smallest value that at least this share (0–1) of all values do not exceed, as the middle of its bucket. */
  quantile(share) {
    if (!(share >= 0 && share <= 1)) throw new RangeError('a share must be from 0 to 1');
    if (this.#count === 0) return Number.NaN;
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (let i = 0; i < this.#counts.length; i++) {
      seen += this.#counts[i];
      if (seen >= rank) {
        const { low, width } = this.#range(i);
        return Math.min(this.#max, Math.max(this.#min, low + (width - 1) / 2));
      }
    }
    return this.#max;
  }

  /** Median, 95th and 99th percentile and the extremes, each divided by `unit`. */
  summary(unit = 1) {
    const of = (share) => this.quantile(share) / unit;
    return { median: of(0.5), p95: of(0.95), p99: of(0.99), min: this.min / unit, max: this.max / unit, samples: this.#count };
  }

  /** [lower end, count] of each part of an octave that holds a value; `parts` ≤ 2^precision to an octave. */
  steps(parts = 4) {
    const merged = new Map();
    for (let i = 0; i < this.#counts.length; i++) {
      if (this.#counts[i] === 0) continue;
      const { low } = this.#range(i);
      const octave = 2 ** Math.floor(Math.log2(Math.max(1, low)));
      const start = octave < parts ? low : octave + Math.floor(((low - octave) / octave) * parts) * (octave / parts);
      merged.set(start, (merged.get(start) ?? 0) + this.#counts[i]);
    }
    return [...merged];
  }

  /** Bars for a terminal, a line for each step; values divided by `unit`. */
  draw({ unit = 1, parts = 4, width = 50 } = {}) {
    const steps = this.steps(parts);
    const most = Math.max(...steps.map(([, count]) => count));
    return steps
      .map(([low, count]) => `${(low / unit).toPrecision(3).padStart(9)}  ${'█'.repeat(Math.ceil((count / most) * width))} ${count}`)
      .join('\n');
  }

  // Below 2^(precision + 1) every integer has a bucket; above, an octave has 2^precision.
  #bucket(x) {
    if (x < 2 ** (this.#precision + 1)) return x;
    let exponent = Math.floor(Math.log2(x));
    if (2 ** exponent > x) exponent -= 1; // log2 may round up
    const shift = exponent - this.#precision;
    return shift * 2 ** this.#precision + Math.floor(x / 2 ** shift);
  }

  #range(bucket) {
    const size = 2 ** this.#precision;
    if (bucket < 2 * size) return { low: bucket, width: 1 };
    const shift = Math.floor(bucket / size) - 1;
    return { low: (bucket - shift * size) * 2 ** shift, width: 2 ** shift };
  }

  #grow(bucket) {
    if (bucket < this.#counts.length) return;
    const counts = new Float64Array(2 ** Math.ceil(Math.log2(bucket + 1)));
    counts.set(this.#counts);
    this.#counts = counts;
  }
}
