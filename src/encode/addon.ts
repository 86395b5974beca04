/** The addon's text functions, as the encoder and the learner call them. */
import { type NativeTask, native } from '../native.js';

type Listener = ((done: number, total: number) => void) | undefined;

/**
 * Conversations: the contents of all messages; for each conversation, how many messages end with it; for each message
 * its weight; and what brings a text to NFKC and lower case, called for stretches that hold more than ASCII. Such a
 * stretch reaches from space to space: neither looks beyond one.
 */
export type PackedArguments = [
  contents: readonly string[],
  conversationEnds: Uint32Array,
  weights: Float32Array,
  normalised: (stretch: string) => string,
];

/** Sparse rows: row i has the entries starts[i] … starts[i + 1]. */
export interface SparseRows {
  starts: Uint32Array;
  columns: Uint32Array;
  values: Float32Array;
}

declare const tablesBrand: unique symbol;
/** Made by `encoderTables`, opaque. */
export interface EncoderTables {
  readonly [tablesBrand]: true;
}

export interface TextAddon {
  /** How many columns the hashed features have. */
  textColumns(): number;
  /** With an empty idf: damped counts; else weighed and normalised rows. */
  textFeatures(...args: [...PackedArguments, idf: Float32Array, threads: number, listener: Listener]): NativeTask<SparseRows>;
  inverseFrequencies(columns: Uint32Array, rows: number): Float32Array;
  encoderTables(idf: Float32Array, projection: Float32Array, dimensions: number): EncoderTables;
  encodeText(...args: [...PackedArguments, tables: EncoderTables, threads: number]): NativeTask<Float32Array>;
}

export function textAddon(): TextAddon {
  return native() as unknown as TextAddon;
}
