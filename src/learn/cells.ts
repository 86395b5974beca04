/**
 * Missing cells of an outcome matrix: a logistic model with a merit for each expert, an ease for each conversation, and low-rank
 * interactions,
 *
 *     P(outcome of m on i) = σ(a_m + b_i + ⟨φ_m, ψ_i⟩)      b ~ N(0, 1/λ_b),  φ, ψ ~ N(0, I/λ)
 *
 * by Newton's steps on experts and conversations in turn, each in closed form (iteratively reweighted least squares). Rank and
 * penalties are those of the least log-loss on a tenth of the known cells, on which the predictions are also calibrated
 * (calibration.ts); then everything is fitted to all of them. Rank 0 is the two-way additive model.
 */
import { Random } from '../random.js';
import { fitReadOut, type ReadOut, readOut } from './calibration.js';
import { METRICS } from './metrics.js';
import { placesBy } from './observations.js';

/** Known cells; outcomes from 0 to 1. */
export interface Cells {
  rows: number;
  columns: number;
  row: Uint32Array;
  column: Uint32Array;
  value: Float32Array;
}

interface Settings {
  rank: number;
  /** λ_b */
  ease: number;
  /** λ */
  interaction: number;
}

const SWEEPS = 12;
const EASES = [0.1, 0.3, 1];
const RANKS = [1, 2, 4, 8];
const INTERACTIONS = [1, 2, 4];
const MERIT = 0.01;

/** Probabilities of given cells, by a model of `known`; with `additive` of rank 0. */
export function completeCells(
  known: Cells,
  wanted: { row: Uint32Array; column: Uint32Array },
  { seed = 0, additive = false }: { seed?: number; additive?: boolean } = {},
): { probability: Float64Array; settings: Settings } {
  const random = new Random(seed);
  const fold = Uint8Array.from(known.value, () => Number(random.below(10) === 0));
  const [inner, held] = [0, 1].map((side) => part(known, fold, side)) as [Cells, Cells];
  const judge = (settings: Settings) => {
    const eta = logits(fit(inner, settings, seed), held, settings.rank);
    const calibration = fitReadOut(METRICS.score, eta, held.value);
    return { settings, calibration, loss: logLoss(eta, held.value, calibration) };
  };
  const least = (list: ReturnType<typeof judge>[]) => list.reduce((best, each) => (each.loss < best.loss ? each : best));
  let best = least(EASES.map((ease) => judge({ rank: 0, ease, interaction: 1 })));
  if (!additive) {
    const { ease } = best.settings;
    best = least([best, ...RANKS.flatMap((rank) => INTERACTIONS.map((interaction) => judge({ rank, ease, interaction })))]);
  }
  const eta = logits(fit(known, best.settings, seed), { ...known, ...wanted }, best.settings.rank);
  return { probability: Float64Array.from(eta, (each) => readOut(METRICS.score, best.calibration, each)), settings: best.settings };
}

interface Factors {
  /** columns × (rank + 1): φ_m and a_m; rows × (rank + 1): ψ_i and b_i. */
  experts: Float64Array;
  conversations: Float64Array;
}

function fit(cells: Cells, { rank, ease, interaction }: Settings, seed: number): Factors {
  const width = rank + 1;
  const random = new Random(seed + 1);
  const experts = Float64Array.from({ length: cells.columns * width }, (_, i) => (i % width < rank ? 0.3 * random.normal() : 0));
  const conversations = new Float64Array(cells.rows * width);
  const byRow = placesBy(cells.row, cells.rows);
  const byColumn = placesBy(cells.column, cells.columns);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    newton(cells, byRow, cells.column, conversations, experts, rank, interaction, ease);
    newton(cells, byColumn, cells.row, experts, conversations, rank, interaction, MERIT);
  }
  return { experts, conversations };
}

/** One Newton step of every row of `own`, the others' factors held. */
function newton(
  { value }: Cells,
  { starts, order }: { starts: Uint32Array; order: Uint32Array },
  other: Uint32Array,
  own: Float64Array,
  others: Float64Array,
  rank: number,
  interaction: number,
  merit: number,
): void {
  const width = rank + 1;
  const hessian = new Float64Array(width * width);
  const step = new Float64Array(width);
  const x = new Float64Array(width);
  for (let i = 0; i + 1 < starts.length; i++) {
    const at = i * width;
    hessian.fill(0);
    for (let j = 0; j < width; j++) {
      const penalty = j < rank ? interaction : merit;
      hessian[j * width + j] = penalty;
      step[j] = -penalty * (own[at + j] as number);
    }
    for (let e = starts[i] as number; e < (starts[i + 1] as number); e++) {
      const cell = order[e] as number;
      const from = (other[cell] as number) * width;
      let eta = (own[at + rank] as number) + (others[from + rank] as number);
      for (let j = 0; j < rank; j++) {
        x[j] = others[from + j] as number;
        eta += (own[at + j] as number) * (x[j] as number);
      }
      x[rank] = 1;
      const p = 1 / (1 + Math.exp(-eta));
      const weight = Math.max(p * (1 - p), 1e-4);
      const rest = (value[cell] as number) - p;
      for (let j = 0; j < width; j++) {
        step[j] = (step[j] as number) + rest * (x[j] as number);
        for (let k = 0; k <= j; k++)
          hessian[j * width + k] = (hessian[j * width + k] as number) + weight * (x[j] as number) * (x[k] as number);
      }
    }
    solve(hessian, step, width);
    for (let j = 0; j < width; j++) own[at + j] = (own[at + j] as number) + Math.max(-2, Math.min(2, step[j] as number));
  }
}

/** Cholesky, in place: the lower triangle of `matrix`, the solution in `b`. */
function solve(matrix: Float64Array, b: Float64Array, n: number): void {
  const at = (i: number, j: number) => matrix[i * n + j] as number;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = at(i, j);
      for (let k = 0; k < j; k++) sum -= at(i, k) * at(j, k);
      matrix[i * n + j] = i === j ? Math.sqrt(sum) : sum / at(j, j);
    }
    let sum = b[i] as number;
    for (let k = 0; k < i; k++) sum -= at(i, k) * (b[k] as number);
    b[i] = sum / at(i, i);
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = b[i] as number;
    for (let k = i + 1; k < n; k++) sum -= at(k, i) * (b[k] as number);
    b[i] = sum / at(i, i);
  }
}

function logits(
  { experts, conversations }: Factors,
  { row, column }: { row: Uint32Array; column: Uint32Array },
  rank: number,
): Float32Array {
  const width = rank + 1;
  return Float32Array.from(row, (i, e) => {
    const m = column[e] as number;
    let eta = (experts[m * width + rank] as number) + (conversations[i * width + rank] as number);
    for (let j = 0; j < rank; j++) eta += (experts[m * width + j] as number) * (conversations[i * width + j] as number);
    return eta;
  });
}

function logLoss(eta: Float32Array, value: Float32Array, calibration: ReadOut): number {
  let sum = 0;
  for (const [e, y] of value.entries()) {
    const p = Math.min(1 - 1e-9, Math.max(1e-9, readOut(METRICS.score, calibration, eta[e] as number)));
    sum -= y * Math.log(p) + (1 - y) * Math.log(1 - p);
  }
  return sum / value.length;
}

function part(cells: Cells, fold: Uint8Array, side: number): Cells {
  const keep = (_: number, e: number) => fold[e] === side;
  return { ...cells, row: cells.row.filter(keep), column: cells.column.filter(keep), value: cells.value.filter(keep) };
}
