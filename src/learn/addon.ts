/** The addon's solvers, as the learner calls them; see native/train/outcomes.hpp for the model. */
import type { SparseRows, TextAddon } from '../encode/addon.js';
import { type NativeTask, native } from '../native.js';

type Listener = ((done: number, total: number) => void) | undefined;

/** Spectral coordinates of conversations, and outcomes of (metric, expert) pairs on them. */
export interface Problem {
  /** rows × dimensions */
  coordinates: Float32Array;
  rows: number;
  dimensions: number;
  row: Uint32Array;
  output: Uint32Array;
  target: Float32Array;
  outputs: number;
}

export interface Settings {
  /** 0: biases only; `outputs`: a regression for each; between: low rank. */
  rank: number;
  penalties: number[];
  shrinkage: number;
  biasPrior: number;
}

export interface Factors {
  rank: number;
  /** outputs */
  bias: Float32Array;
  /** outputs × rank */
  vectors: Float32Array;
  /** dimensions × rank */
  projection: Float32Array;
}

/** See native/train/joint.hpp; `coordinates` are those of the specific parts. */
export interface JointProblem extends Problem {
  /** Of the shared part: rows × sharedDimensions. Absent: the same coordinates. */
  shared?: Float32Array;
  sharedDimensions?: number;
}

export interface JointSettings {
  shared: number[];
  /** Rising. */
  specific: number[];
  biasPrior: number;
}

export interface JointModel {
  sharedPenalty: number;
  specificPenalty: number;
  evidence: number;
  /** sharedDimensions + 1, the constant last */
  shared: Float32Array;
  /** outputs */
  bias: Float32Array;
  /** dimensions × outputs */
  projection: Float32Array;
}

/** See native/train/hierarchical.hpp; `outputs` are the experts. */
export interface HierarchicalProblem extends Problem {
  /** outputs × width, the last component 1 */
  features: Float32Array;
  width: number;
}

export interface Hierarchy {
  noise: number;
  /** dimensions + 1, the constant last */
  variance: number[];
  penalty: number;
  /** (dimensions + 1) × width */
  map: number[];
  evidence: number;
}

/** u = V^−½ δ of each expert: N(mean, (diag(diagonal) + Σ columns columnsᵀ)⁻¹); n is dimensions + 1. */
export interface Posteriors {
  /** outputs × n */
  mean: Float32Array;
  /** outputs × n */
  diagonal: Float32Array;
  /** outputs × rank × n */
  columns: Float32Array;
}

interface LearnAddon extends TextAddon {
  spectralBasis(
    rows: SparseRows,
    dimensions: number,
    seed: number,
    threads: number,
    listener: Listener,
  ): NativeTask<{ dimensions: number; vectors: Float32Array; eigenvalues: Float64Array }>;
  /** Xᵀ U R: columns × p. */
  foldProjection(
    rows: SparseRows,
    vectors: Float32Array,
    q: number,
    readout: Float32Array,
    p: number,
    threads: number,
  ): NativeTask<Float32Array>;
  /** One model a penalty. */
  fitOutcomes(problem: Problem, settings: Settings, threads: number): NativeTask<Factors[]>;
  /** penalties × outcomes: predictions by models that did not see the conversation's fold. */
  heldOutPredictions(
    problem: Problem,
    fold: Uint32Array,
    settings: Settings,
    threads: number,
    listener: Listener,
  ): NativeTask<Float32Array>;
  fitJoint(problem: JointProblem, settings: JointSettings, threads: number): NativeTask<JointModel>;
  /** 2 × outcomes: the shared part, then the specific part, by models that did not see the conversation's fold. */
  heldOutJoint(
    problem: JointProblem,
    fold: Uint32Array,
    settings: JointSettings,
    threads: number,
    listener: Listener,
  ): NativeTask<Float32Array>;
  fitHierarchy(
    problem: HierarchicalProblem,
    group: Uint32Array,
    rounds: number,
    threads: number,
    listener: Listener,
  ): NativeTask<Omit<Hierarchy, 'variance' | 'map'> & { variance: Float64Array; map: Float64Array }>;
  posteriors(problem: HierarchicalProblem, hierarchy: Hierarchy, rank: number, threads: number): NativeTask<Posteriors>;
  /** One prediction an outcome, by models that did not see the conversation's fold. */
  heldOutHierarchy(
    problem: HierarchicalProblem,
    fold: Uint32Array,
    hierarchy: Hierarchy,
    rounds: number,
    threads: number,
    listener: Listener,
  ): NativeTask<Float32Array>;
  checksum(bytes: Uint8Array): string;
}

export function learnAddon(): LearnAddon {
  return native() as unknown as LearnAddon;
}
