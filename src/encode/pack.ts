/**
 * Conversations as the native side reads them: one run of UTF-8 bytes in NFKC and lower case, with a weight for each
 * message. The last message counts most, an earlier one less by its distance; what people wrote counts more than
 * what models, tools and system prompts wrote.
 */
import { PointsmanError } from '../errors.js';
import type { Conversation } from '../types.js';
import type { PackedArguments } from './addon.js';

/** A message's weight is its role's weight × RECENCY^(messages after it). */
const RECENCY = 0.8;
const USER_WEIGHT = 1;
const OTHER_WEIGHT = 0.5;
const MAX_BYTES = 2 ** 32 - 1;

/** @throws PointsmanError BAD_CONVERSATION */
export function pack(conversations: readonly Conversation[]): PackedArguments {
  if (!Array.isArray(conversations)) throw new PointsmanError('BAD_ARGUMENT', 'conversations must be an array');
  const texts: string[] = [];
  const weights: number[] = [];
  const capitals: number[] = [];
  const conversationEnds = new Uint32Array(conversations.length);
  for (const [c, conversation] of conversations.entries()) {
    checkConversation(conversation, c);
    for (const [m, { role, content }] of conversation.entries()) {
      // ASCII is in NFKC, and its capitals are lowered and counted natively.
      const ascii = Buffer.byteLength(content) === content.length;
      texts.push(ascii ? content : content.normalize('NFKC').toLowerCase());
      capitals.push(ascii ? 0 : capitalsOf(content));
      weights.push((role === 'user' ? USER_WEIGHT : OTHER_WEIGHT) * RECENCY ** (conversation.length - 1 - m));
    }
    conversationEnds[c] = texts.length;
  }
  const { bytes, ends } = join(texts);
  return [bytes, ends, conversationEnds, Float32Array.from(weights), Uint32Array.from(capitals)];
}

/** @throws PointsmanError BAD_CONVERSATION, which counts from 1 */
export function checkConversation(conversation: unknown, c: number): asserts conversation is Conversation {
  const bad = (what: string) => new PointsmanError('BAD_CONVERSATION', `conversation ${c + 1}: ${what}`);
  if (!Array.isArray(conversation)) throw bad('expected an array of messages { role, content }');
  if (conversation.length === 0) throw bad('it has no message');
  for (const [m, message] of conversation.entries()) {
    if (typeof message?.role !== 'string' || typeof message.content !== 'string') {
      throw bad(`message ${m + 1} must have a role and a content, both strings`);
    }
  }
}

/** ASCII capitals: how a text is written; lower-casing loses it. */
function capitalsOf(content: string): number {
  let count = 0;
  for (let i = 0; i < content.length; i++) {
    const code = content.charCodeAt(i);
    if (code >= 65 && code <= 90) count++;
  }
  return count;
}

function join(texts: readonly string[]): { bytes: Uint8Array; ends: Uint32Array } {
  const ends = new Uint32Array(texts.length);
  let length = 0;
  for (const [i, text] of texts.entries()) {
    length += Buffer.byteLength(text);
    if (length > MAX_BYTES) throw new PointsmanError('BAD_ARGUMENT', 'the conversations of one call have more than 4 GiB of text');
    ends[i] = length;
  }
  const bytes = new Uint8Array(length);
  const encoder = new TextEncoder();
  let begin = 0;
  for (const text of texts) begin += encoder.encodeInto(text, bytes.subarray(begin)).written;
  return { bytes, ends };
}
