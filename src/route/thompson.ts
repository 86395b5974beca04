/**
 * Thompson sampling (Thompson, Biometrika 1933; Russo et al., A Tutorial on Thompson Sampling, 2018): an expert is chosen with the
 * probability that it is the best, by what is believed of them. Scores are believed to be independent, s_m ~ N(μ_m, σ_m²).
 *
 * Drawing every s_m and taking the largest would do it, but then nobody knows with what probability the winner won, which an
 * off-policy estimate divides by. So those probabilities are computed and the expert is drawn from them: what is logged as propensity
 * is exactly the probability of the draw. With F_m the distribution of s_m, the largest has the distribution Π_m F_m, and
 *
 *     P(m is the best) = ∫ (Π_j F_j(s)) d log F_m(s)
 *
 * Between two points of a grid the mass of Π F_j is known exactly, and goes to the experts in proportion to what their log F_m rose
 * by: never negative, of sum 1 whatever the grid, and within 10⁻³ of the integral on this one (test/thompson.test.ts).
 */

/** Of the grid, an expert: fewer where many take part, since theirs add up. */
const pointsOf = (experts: number) => Math.max(16, Math.min(40, Math.ceil(640 / experts)));
/** Deviations from the mean beyond which nothing is looked for. */
const REACH = 6;

/**
 * @param means best first, which is the order of ties among those that are certain @param deviations ≥ 0, finite
 * @returns one probability an expert, of sum 1
 */
export function probabilitiesOfBest(means: ArrayLike<number>, deviations: ArrayLike<number>): number[] {
  const count = means.length;
  const out = new Array<number>(count).fill(0);
  if (count === 0) return out;
  // Who is certain is best or out of the question, and bounds the others from below.
  let certain = -1;
  let floor = Number.NEGATIVE_INFINITY;
  const open: number[] = [];
  for (let m = 0; m < count; m++) {
    const [mean, deviation] = [means[m] as number, deviations[m] as number];
    if (deviation > 0) open.push(m);
    else if (certain < 0 || mean > (means[certain] as number)) certain = m;
    floor = Math.max(floor, mean - REACH * deviation);
  }
  const sure = certain < 0 ? Number.NEGATIVE_INFINITY : (means[certain] as number);
  const logs = (s: number) => open.map((m) => logNormal((s - (means[m] as number)) / (deviations[m] as number)));
  const grid = gridOf(open, means, deviations, Math.max(floor, sure));
  let before = logs(Math.max(floor, sure));
  let below = Math.exp(sum(before));
  if (certain >= 0) out[certain] = below;
  for (const s of grid) {
    const after = logs(s);
    const mass = Math.exp(sum(after)) - below;
    const rises = after.map((log, i) => log - (before[i] as number));
    const risen = sum(rises);
    if (risen > 0) for (const [i, m] of open.entries()) out[m] = (out[m] as number) + (mass * (rises[i] as number)) / risen;
    [before, below] = [after, below + mass];
  }
  const total = sum(out);
  if (!(total > 0)) return out.map((_, m) => Number(m === 0));
  return out.map((value) => value / total);
}

/** Points of all experts, evenly spaced in deviations, in rising order from the one after `from` on. */
function gridOf(open: readonly number[], means: ArrayLike<number>, deviations: ArrayLike<number>, from: number): Float64Array {
  const points = pointsOf(open.length);
  const grid: number[] = [];
  for (const m of open) {
    for (let i = 0; i <= points; i++) {
      const s = (means[m] as number) + (deviations[m] as number) * REACH * ((2 * i) / points - 1);
      if (s > from) grid.push(s);
    }
  }
  return Float64Array.from(grid).sort();
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** log Φ(z), to 1e-14: the series of Φ about 0 (Marsaglia, J. Stat. Software 2004) or, in the tails, Laplace's continued fraction. */
function logNormal(z: number): number {
  const x = Math.abs(z);
  const logDensity = -0.5 * x * x - 0.5 * Math.log(2 * Math.PI);
  if (x < 3) {
    let term = z;
    let series = z;
    for (let n = 3; Math.abs(term) > 1e-17; n += 2) {
      term *= (z * z) / n;
      series += term;
    }
    return Math.log(0.5 + Math.exp(logDensity) * series);
  }
  let fraction = x; // x + 1/(x + 2/(x + 3/(x + …)))
  for (let n = 40; n > 0; n--) fraction = x + n / fraction;
  const tail = logDensity - Math.log(fraction);
  return z < 0 ? tail : Math.log1p(-Math.exp(tail));
}
