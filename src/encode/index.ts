/** Encoders: conversations in, vectors out. */
export type { Encoder } from '../types.js';
export { EndpointEncoder, type EndpointEncoderOptions } from './endpoint.js';
export { featureColumns, HashingEncoder, type HashingEncoderOptions } from './hashing.js';
export { OnnxEncoder, type OnnxEncoderOptions } from './onnx.js';
