/** Encoders: conversations in, vectors of the feature space out. */
export type { Encoder } from '../types.js';
export { featureColumns, HashingEncoder, type HashingEncoderOptions } from './hashing.js';
