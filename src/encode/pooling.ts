/** From the vectors of tokens to one vector a text. */
import { PointsmanError } from '../errors.js';

export const POOLINGS = ['mean', 'cls', 'last'] as const;
export type Pooling = (typeof POOLINGS)[number];

/**
 * @param output float32, rows × length × dimensions; or rows × dimensions, which are taken as they are
 * @param rows the tokens of each text; what lies behind them is padding
 * @returns rows × dimensions; means are summed in float64
 * @throws PointsmanError WRONG_SHAPE
 */
export function pool(
  output: { type: string; dims: readonly number[]; data: unknown },
  rows: readonly Int32Array[],
  length: number,
  pooling: Pooling,
): Float32Array {
  const { dims, data, type } = output;
  const dimensions = dims.at(-1) ?? 0;
  const pooled = dims.length === 2;
  if (
    type !== 'float32' ||
    !(data instanceof Float32Array) ||
    dims[0] !== rows.length ||
    !(pooled || (dims.length === 3 && dims[1] === length)) ||
    dimensions < 1
  ) {
    throw new PointsmanError(
      'WRONG_SHAPE',
      `the model gives ${type} ${dims.join(' × ')} for ${rows.length} texts of ${length} tokens; expected are float32 vectors`,
    );
  }
  if (pooled) return data.slice();
  const vectors = new Float32Array(rows.length * dimensions);
  const sum = new Float64Array(dimensions);
  for (const [r, { length: tokens }] of rows.entries()) {
    const from = pooling === 'last' ? tokens - 1 : 0;
    const to = pooling === 'cls' ? 1 : tokens;
    sum.fill(0);
    for (let t = from; t < to; t++) {
      const begin = (r * length + t) * dimensions;
      for (let j = 0; j < dimensions; j++) sum[j] = (sum[j] as number) + (data[begin + j] as number);
    }
    for (let j = 0; j < dimensions; j++) vectors[r * dimensions + j] = (sum[j] as number) / (to - from);
  }
  return vectors;
}
