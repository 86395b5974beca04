/** Encoders for the command line: a file of JSON that says which, and with what settings. */
import { EndpointEncoder, type EndpointEncoderOptions, OnnxEncoder, type OnnxEncoderOptions } from '../encode/index.js';
import { PointsmanError } from '../errors.js';
import type { Conversation, Encoder, TaskOptions } from '../types.js';
import { type Option, readText, text, type Values } from './command.js';

export const ENCODER: Option = {
  type: 'string',
  value: 'FILE',
  help: 'read conversations with a language model, too: JSON {"kind":"onnx"|"endpoint", …}, see docs/encoders.md',
};

/** The encoder of `--encoder`; close it after use. @throws PointsmanError what its `open` throws, FILE_MISSING, FILE_IO, BAD_DATA */
export async function encoderOf(values: Values, options: TaskOptions): Promise<OnnxEncoder | EndpointEncoder | undefined> {
  const path = text(values, 'encoder');
  if (path === undefined) return undefined;
  let parsed: { kind?: unknown } | null;
  try {
    parsed = JSON.parse(await readText(path));
  } catch (cause) {
    if (cause instanceof PointsmanError) throw cause;
    throw new PointsmanError('BAD_DATA', `${path}: not JSON (${(cause as Error).message})`, { cause });
  }
  const { kind, ...settings } = parsed ?? {};
  if (kind === 'onnx') return OnnxEncoder.open(settings as OnnxEncoderOptions, options);
  if (kind === 'endpoint') return EndpointEncoder.open(settings as EndpointEncoderOptions, options);
  throw new PointsmanError('BAD_DATA', `${path}: kind must be onnx or endpoint, not ${JSON.stringify(kind)}`);
}

/** An encoder that is asked for each conversation of the data once, however many folds and seeds it comes back in. */
export function remembering(encoder: Encoder): Encoder {
  const { id, dimensions } = encoder;
  const known = new Map<Conversation, Float32Array>();
  return {
    id,
    dimensions,
    async encode(conversations, options) {
      const missing = [...new Set(conversations)].filter((conversation) => !known.has(conversation));
      const vectors = missing.length > 0 ? await encoder.encode(missing, options) : new Float32Array(0);
      for (const [i, conversation] of missing.entries()) {
        known.set(conversation, vectors.subarray(i * dimensions, (i + 1) * dimensions));
      }
      const out = new Float32Array(conversations.length * dimensions);
      for (const [i, conversation] of conversations.entries()) out.set(known.get(conversation) as Float32Array, i * dimensions);
      return out;
    },
  };
}
