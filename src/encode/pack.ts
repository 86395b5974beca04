/**
 * Conversations as the native side takes them: the contents of all messages, with a weight for each. The last message
 * counts most, an earlier one less by its distance; what people wrote counts more than what models, tools and system
 * prompts wrote.
 */
import { PointsmanError } from '../errors.js';
import type { Conversation } from '../types.js';
import type { PackedArguments } from './addon.js';

/** A message's weight is its role's weight × RECENCY^(messages after it). */
const RECENCY = 0.8;
const USER_WEIGHT = 1;
const OTHER_WEIGHT = 0.5;

/** @throws PointsmanError BAD_CONVERSATION */
export function pack(conversations: readonly Conversation[]): PackedArguments {
  if (!Array.isArray(conversations)) throw new PointsmanError('BAD_ARGUMENT', 'conversations must be an array');
  const contents: string[] = [];
  const weights: number[] = [];
  const conversationEnds = new Uint32Array(conversations.length);
  for (const [c, conversation] of conversations.entries()) {
    checkConversation(conversation, c);
    for (const [m, { role, content }] of conversation.entries()) {
      contents.push(content);
      weights.push((role === 'user' ? USER_WEIGHT : OTHER_WEIGHT) * RECENCY ** (conversation.length - 1 - m));
    }
    conversationEnds[c] = contents.length;
  }
  return [contents, conversationEnds, Float32Array.from(weights), normalised];
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

/** What native code asks of stretches with characters beyond ASCII; ASCII it lowers by itself. */
function normalised(stretch: string): string {
  return stretch.normalize('NFKC').toLowerCase();
}
