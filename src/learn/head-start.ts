/**
 * Among many experts the highest of noisy predictions is too high (the optimizer's curse: Smith and Winkler, Management Science 2006).
 * So the best single expert of a metric may have a head start: a bonus to its bias, of a size that is chosen on held-out predictions
 * like every other setting.
 */
import type { MetricObservations } from './observations.js';
import { answeredBySeveral } from './select.js';

/** In standard deviations of the metric. */
const HEAD_STARTS = [0, 0.02, 0.04, 0.06, 0.1];

/** Head starts to choose from: where it cannot be seen what another choice would have earned, none could be judged. */
export function headStarts(metrics: readonly MetricObservations[]): readonly number[] {
  return answeredBySeveral(metrics) ? HEAD_STARTS : [0];
}

/** What an output (metric × experts + expert) gets of a head start. @param bias of every output */
export function ahead(metrics: readonly MetricObservations[], experts: number, bias: ArrayLike<number>) {
  const best = metrics.map(({ metric }, r) => {
    let found = 0;
    for (let m = 1; m < experts; m++) {
      if (metric.sign * ((bias[r * experts + m] as number) - (bias[r * experts + found] as number)) > 0) found = m;
    }
    return found;
  });
  return (output: number, headStart: number) => {
    const r = Math.floor(output / experts);
    return output % experts === best[r] ? headStart * (metrics[r] as MetricObservations).metric.sign : 0;
  };
}

/** Mean advantage of each output, 0 where it has none. */
export function meanAdvantages(outputs: number, { output, target }: { output: Uint32Array; target: Float32Array }): Float64Array {
  const sum = new Float64Array(outputs);
  const count = new Float64Array(outputs);
  for (const [e, o] of output.entries()) {
    sum[o] = (sum[o] as number) + (target[e] as number);
    count[o] = (count[o] as number) + 1;
  }
  return sum.map((total, o) => total / Math.max(1, count[o] as number));
}
