/** The addon's factorisation for implicit feedback; see native/train/implicit.hpp for the model. */
import { type NativeTask, native } from '../native.js';

type Listener = ((done: number, total: number) => void) | undefined;

/** Every setting of one factorisation; what each means and its range: `FactoriseOptions`. */
export interface FactorSettings {
  readonly factors: number;
  readonly unobserved: number;
  readonly penalty: number;
  readonly exponent: number;
  readonly deviation: number;
  readonly sweeps: number;
  readonly seed: number;
}

/** Interactions in memory by number, or the path of an interaction file. */
export type NativeInteractions =
  | { path: string }
  | { users: number; items: number; user: Uint32Array; item: Uint32Array; weight?: Float32Array | undefined };

export interface InteractionCounts {
  users: number;
  experts: number;
  interactions: number;
  weighted: boolean;
}

export interface FactorsAddon {
  factorise(
    source: NativeInteractions,
    settings: FactorSettings,
    checkpoint: string | undefined,
    resume: boolean,
    threads: number,
    listener: Listener,
  ): NativeTask<{ users: Float32Array; items: Float32Array; gram: Float32Array; interactions: number; done: number }>;
  /** Of several histories the vectors of their experts, one after another; → histories × k. */
  foldIn(
    vectors: Float32Array,
    starts: Uint32Array,
    weights: Float32Array | undefined,
    gram: Float32Array,
    others: number,
    settings: FactorSettings,
    threads: number,
  ): NativeTask<Float32Array>;
  /** `records`: a file of { user, expert: uint32; weight: float32 }, little-endian. */
  writeInteractions(
    records: string,
    path: string,
    shape: { users: number; experts: number; weighted: boolean },
    userNames: Uint8Array,
    expertNames: Uint8Array,
    memory: number,
    listener: Listener,
  ): NativeTask<InteractionCounts>;
  interactionCounts(path: string, listener: Listener): NativeTask<InteractionCounts & { userNames: Uint8Array; expertNames: Uint8Array }>;
}

export function factorsAddon(): FactorsAddon {
  return native() as unknown as FactorsAddon;
}
