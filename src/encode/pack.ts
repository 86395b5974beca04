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
  const ends: number[] = [];
  let length = 0;
  const weights: number[] = [];
  const capitals: number[] = [];
  const conversationEnds = new Uint32Array(conversations.length);
  for (const [c, conversation] of conversations.entries()) {
    checkConversation(conversation, c);
    for (const [m, { role, content }] of conversation.entries()) {
      const { text, bytes, lowered } = normalised(content);
      length += bytes;
      if (length > MAX_BYTES) throw new PointsmanError('BAD_ARGUMENT', 'the conversations of one call have more than 4 GiB of text');
      texts.push(text);
      ends.push(length);
      capitals.push(lowered);
      weights.push((role === 'user' ? USER_WEIGHT : OTHER_WEIGHT) * RECENCY ** (conversation.length - 1 - m));
    }
    conversationEnds[c] = texts.length;
  }
  return [join(texts, length), Uint32Array.from(ends), conversationEnds, Float32Array.from(weights), Uint32Array.from(capitals)];
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

const BEYOND_ASCII = /[\u0080-\uffff]/g;

/**
 * The text in NFKC and lower case, but for stretches of ASCII between spaces, which are in NFKC: native code lowers them and counts their
 * capitals (how a text is written; lower-casing loses it). Neither NFKC nor lower-casing looks beyond a space.
 */
function normalised(content: string): { text: string; bytes: number; lowered: number } {
  if (Buffer.byteLength(content) === content.length) return { text: content, bytes: content.length, lowered: 0 };
  const parts: string[] = [];
  let lowered = 0;
  let done = 0;
  BEYOND_ASCII.lastIndex = 0;
  for (let found = BEYOND_ASCII.exec(content); found !== null; found = BEYOND_ASCII.exec(content)) {
    const begin = content.lastIndexOf(' ', found.index) + 1;
    const space = content.indexOf(' ', found.index);
    const end = space < 0 ? content.length : space;
    const part = content.slice(begin, end);
    parts.push(content.slice(done, begin), part.normalize('NFKC').toLowerCase());
    lowered += capitalsOf(part);
    done = end;
    BEYOND_ASCII.lastIndex = end;
  }
  parts.push(content.slice(done));
  const text = parts.join('');
  return { text, bytes: Buffer.byteLength(text), lowered };
}

/** ASCII capitals. */
function capitalsOf(content: string): number {
  let count = 0;
  for (let i = 0; i < content.length; i++) {
    const code = content.charCodeAt(i);
    if (code >= 65 && code <= 90) count++;
  }
  return count;
}

function join(texts: readonly string[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const encoder = new TextEncoder();
  let begin = 0;
  for (const text of texts) begin += encoder.encodeInto(text, bytes.subarray(begin)).written;
  return bytes;
}
