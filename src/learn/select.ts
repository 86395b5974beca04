/**
 * Which rank and which regularisation: judged on held-out predictions, with a preference for the simple.
 *
 * Where most conversations were answered by several experts, a setting is worth what its pick earned: per
 * conversation the standardised outcome of the expert with the best held-out prediction among those observed. In a
 * log nobody knows what the others would have earned, so there a setting is worth its held-out squared error, negated.
 *
 * Biases alone (rank 0) win unless the best setting beats them by TWICE its paired standard error: routing on noise
 * is worse than the best single expert. Among the others the one with the highest mean wins.
 */
import { type MetricObservations, runs } from './observations.js';

const TWICE = 2;

/** The worth of a setting for every conversation that tells of it, in the order of the observations. */
export function worth(metrics: readonly MetricObservations[], targets: Float32Array, predictions: Float32Array): Float64Array {
  const byPick = answeredBySeveral(metrics);
  const out: number[] = [];
  let offset = 0;
  for (const { metric, conversation } of metrics) {
    for (const [begin, end] of runs(conversation)) {
      if (byPick && end - begin < 2) continue;
      let worth = 0;
      if (byPick) {
        let best = offset + begin;
        for (let e = offset + begin + 1; e < offset + end; e++) {
          if (metric.sign * ((predictions[e] as number) - (predictions[best] as number)) > 0) best = e;
        }
        worth = metric.sign * (targets[best] as number);
      } else {
        for (let e = offset + begin; e < offset + end; e++) worth -= ((targets[e] as number) - (predictions[e] as number)) ** 2;
      }
      out.push(worth);
    }
    offset += conversation.length;
  }
  return Float64Array.from(out);
}

/** The place of the best among `worths`, but of the first, the simplest, where the best does not beat it by TWICE. */
export function choose(worths: readonly Float64Array[]): number {
  const base = worths[0] as Float64Array;
  const first = best(worths);
  const gain = (worths[first] as Float64Array).map((value, i) => value - (base[i] as number));
  return mean(gain) > TWICE * standardError(gain) ? first : 0;
}

/** The place of the highest mean. */
export function best(worths: readonly Float64Array[]): number {
  const means = worths.map(mean);
  return means.indexOf(Math.max(...means));
}

/** Do most conversations have several observed experts? */
export function answeredBySeveral(metrics: readonly MetricObservations[]): boolean {
  let several = 0;
  let all = 0;
  for (const { conversation } of metrics) {
    for (const [begin, end] of runs(conversation)) {
      all++;
      if (end - begin > 1) several++;
    }
  }
  return several * 2 > all;
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function standardError(values: Float64Array): number {
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return Math.sqrt(squares / Math.max(1, values.length - 1) / Math.max(1, values.length));
}
