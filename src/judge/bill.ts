/** What judging costs: known before it begins, and counted while it runs. */
import { PointsmanError } from '../errors.js';
import type { Message } from '../types.js';
import type { Dimension } from './rubric.js';

/** Of a million tokens, in a currency of the user's. */
export interface Prices {
  input: number;
  output: number;
}

export interface Bill {
  /** To be made: answers that do not hold to the form are asked for again, and come on top. */
  calls: number;
  /** Judgements that need none: the cache has them, or they are equal to another. */
  known: number;
  /** Estimates: four bytes of UTF-8 a token, and what the form of the answer needs. */
  promptTokens: number;
  completionTokens: number;
  /** Estimated, where prices are given. */
  cost?: number;
}

export interface Usage {
  /** Made in this run; what the client sent again after failures of the server is one call. */
  calls: number;
  /** As the server counted them; 0 where it does not. */
  promptTokens: number;
  completionTokens: number;
  /** By these tokens, where prices are given. */
  cost?: number;
}

const BYTES_PER_TOKEN = 4;
/** Of a message, beside its content. */
const TOKENS_PER_MESSAGE = 4;

export function billOf(
  calls: readonly { dimensions: readonly Dimension[]; body: { messages: readonly Message[] } }[],
  judgements: number,
  prices: Prices | undefined,
): Bill {
  let promptTokens = 0;
  let completionTokens = 0;
  for (const { dimensions, body } of calls) {
    for (const { content } of body.messages) promptTokens += TOKENS_PER_MESSAGE + Math.ceil(Buffer.byteLength(content) / BYTES_PER_TOKEN);
    const form = JSON.stringify({ scores: Object.fromEntries(dimensions.map(({ name }) => [name, 0.5])) });
    completionTokens += Math.ceil(Buffer.byteLength(form) / BYTES_PER_TOKEN);
  }
  const bill = { calls: calls.length, known: judgements - calls.length, promptTokens, completionTokens };
  if (prices === undefined) return bill;
  const { input, output } = prices ?? {};
  if (!(Number.isFinite(input) && Number.isFinite(output) && input >= 0 && output >= 0)) {
    throw new PointsmanError('BAD_ARGUMENT', 'prices must be { input, output } for a million tokens, numbers of at least 0');
  }
  return { ...bill, cost: (promptTokens * input + completionTokens * output) / 1e6 };
}
