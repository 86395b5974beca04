/**
 * A conversation as the text that a language model reads. A single message of the user is its content; otherwise each
 * message is a line `role: content`. What is too long loses its oldest messages, and the oldest that is left its beginning.
 */
import { PointsmanError } from '../errors.js';
import type { Conversation } from '../types.js';
import { checkConversation } from './pack.js';

/** The last `limit` UTF-16 units at most, or one less, so that no pair of surrogates is parted. */
export function textOf(conversation: Conversation, limit: number): string {
  const only = conversation.length === 1 ? conversation[0] : undefined;
  if (only?.role === 'user') return tail(only.content, limit);
  const lines: string[] = [];
  let left = limit;
  for (let m = conversation.length - 1; m >= 0 && left > 0; m--) {
    const { role, content } = conversation[m] as Conversation[number];
    // Not the whole line first: a message may be far longer than what is left.
    const end = tail(content, left);
    const line = end.length < content.length ? end : tail(`${role}: ${end}`, left);
    lines.push(line);
    left -= line.length + 1;
  }
  return lines.reverse().join('\n');
}

/** All conversations checked before the first is encoded. @throws PointsmanError BAD_ARGUMENT, BAD_CONVERSATION */
export function checkAll(conversations: readonly Conversation[]): void {
  if (!Array.isArray(conversations)) throw new PointsmanError('BAD_ARGUMENT', 'conversations must be an array');
  for (const [c, conversation] of conversations.entries()) checkConversation(conversation, c);
}

function tail(text: string, length: number): string {
  if (text.length <= length) return text;
  const begin = text.length - length;
  const parted = (text.charCodeAt(begin) & 0xfc00) === 0xdc00 && (text.charCodeAt(begin - 1) & 0xfc00) === 0xd800;
  return text.slice(parted ? begin + 1 : begin);
}

/** Scales each row to length 1; a zero row stays. @param vectors rows × dimensions, changed in place */
export function normaliseRows(vectors: Float32Array, dimensions: number): void {
  for (let begin = 0; begin < vectors.length; begin += dimensions) {
    let squares = 0;
    for (let j = begin; j < begin + dimensions; j++) squares += (vectors[j] as number) ** 2;
    const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let j = begin; j < begin + dimensions; j++) vectors[j] = (vectors[j] as number) * scale;
  }
}

/** @throws PointsmanError BAD_ARGUMENT unless `value` is an integer in the range */
export function checkInteger(name: string, value: unknown, least: number, most: number): number {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    throw new PointsmanError('BAD_ARGUMENT', `${name} must be an integer from ${least} to ${most}, not ${String(value)}`);
  }
  return value as number;
}
