/** Keys: where they come from, and that no message shows one. */
import { PointsmanError } from '../errors.js';

export interface KeyOptions {
  /** Sent as `Authorization: Bearer …`. */
  apiKey?: string | undefined;
  /** The environment variable that holds the key. */
  apiKeyEnv?: string | undefined;
}

/** Shorter parts of a key give nothing away, and would blacken ordinary words. */
const FRAGMENT = 8;

/** @throws PointsmanError BAD_ARGUMENT, which never shows the key */
export function apiKeyOf({ apiKey, apiKeyEnv }: KeyOptions): string | undefined {
  if (apiKey !== undefined && apiKeyEnv !== undefined) {
    throw new PointsmanError('BAD_ARGUMENT', 'give either apiKey or apiKeyEnv, the name of an environment variable');
  }
  if (apiKeyEnv !== undefined && (typeof apiKeyEnv !== 'string' || !/^\w+$/.test(apiKeyEnv))) {
    throw new PointsmanError(
      'BAD_ARGUMENT',
      'apiKeyEnv must be the name of an environment variable, such as OPENAI_API_KEY, not the key itself',
    );
  }
  const key = apiKeyEnv === undefined ? apiKey : process.env[apiKeyEnv];
  if (apiKeyEnv !== undefined && !key) throw new PointsmanError('BAD_ARGUMENT', `the environment variable ${apiKeyEnv} holds no key`);
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !/^[\x21-\x7e]+$/.test(key)) {
    throw new PointsmanError('BAD_ARGUMENT', 'the API key must be printable ASCII without blanks: a header can hold nothing else');
  }
  return key;
}

/** The text with every part of a secret of `FRAGMENT` characters or more blackened, and short secrets where they stand whole. */
export function redact(text: string, secrets: readonly string[]): string {
  const hidden = new Uint8Array(text.length);
  for (const secret of secrets) {
    const length = Math.min(FRAGMENT, secret.length);
    for (let at = 0; at + length <= secret.length && length > 0; at++) {
      const part = secret.slice(at, at + length);
      for (let found = text.indexOf(part); found >= 0; found = text.indexOf(part, found + 1)) hidden.fill(1, found, found + length);
    }
  }
  let out = '';
  for (let i = 0; i < text.length; i++) {
    if (!hidden[i]) out += text[i];
    else if (!hidden[i - 1]) out += '[hidden]';
  }
  return out;
}
