/** How well judgements of the same response agree. */

export interface Agreement {
  dimension: string;
  /** Responses with at least two judgements. */
  responses: number;
  /** Their judgements. */
  judgements: number;
  /**
   * Krippendorff's alpha for interval data: 1 is perfect agreement, 0 what chance gives, below 0 disagreement; 0.8 is
   * the usual demand, 0.667 the least (Krippendorff, Content Analysis, 2004, p. 241). Undefined where no response has two
   * judgements, or all scores are equal.
   */
  alpha: number | undefined;
  /** Within responses: the root of the judgements' pooled variance, on the scale of 0–1. Undefined where alpha's first reason holds. */
  deviation: number | undefined;
}

/**
 * α = 1 − D_o / D_e over the values of units with at least two (Krippendorff, "Computing Krippendorff's
 * Alpha-Reliability", 2011, with the interval metric δ² = (a − b)²), where with n values in all and m_u in unit u
 *
 *     D_o = 1/n · Σ_u 1/(m_u − 1) · Σ_{i≠j in u} (x_i − x_j)²,      D_e = 1/(n(n − 1)) · Σ_{i≠j} (x_i − x_j)².
 *
 * @param units the judgements of each response
 */
export function agreementOf(dimension: string, units: readonly (readonly number[])[]): Agreement {
  const pairable = units.filter((unit) => unit.length > 1);
  const values = pairable.flat();
  const n = values.length;
  const within = pairable.reduce((sum, unit) => sum + squaredDistances(unit) / (unit.length - 1), 0);
  const all = squaredDistances(values);
  // Σ_{i≠j} (x_i − x_j)² = 2m Σ (x_i − mean)², so the pooled sum of squares is Σ_u of it over 2m_u.
  const squares = pairable.reduce((sum, unit) => sum + squaredDistances(unit) / (2 * unit.length), 0);
  return {
    dimension,
    responses: pairable.length,
    judgements: n,
    alpha: all > 0 ? 1 - (within / n) * ((n * (n - 1)) / all) : undefined,
    deviation: n > 0 ? Math.sqrt(squares / (n - pairable.length)) : undefined,
  };
}

/** Σ_{i≠j} (x_i − x_j)² */
function squaredDistances(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return 2 * values.length * values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}
