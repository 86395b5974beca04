/** Checks that what callers pass as conversations is that. Messages count from 1 in what people read. */
import { PointsmanError } from '../errors.js';
import type { Attributes, Conversation } from '../types.js';

/** @throws PointsmanError BAD_ARGUMENT, BAD_CONVERSATION */
export function checkConversations(conversations: unknown): readonly Conversation[] {
  if (!Array.isArray(conversations)) {
    throw new PointsmanError('BAD_ARGUMENT', 'conversations must be an array of conversations, each an array of messages');
  }
  for (const [i, conversation] of conversations.entries()) {
    if (!Array.isArray(conversation)) {
      throw new PointsmanError('BAD_CONVERSATION', `conversation ${i + 1} must be an array of { role, content } messages`);
    }
    if (conversation.length === 0) throw new PointsmanError('BAD_CONVERSATION', `conversation ${i + 1}: the conversation is empty`);
    for (const [j, message] of conversation.entries()) {
      if (message === null || typeof message !== 'object' || typeof message.role !== 'string' || typeof message.content !== 'string') {
        throw new PointsmanError('BAD_CONVERSATION', `message ${j + 1} of conversation ${i + 1} must have role and content, both strings`);
      }
    }
  }
  return conversations as Conversation[];
}

/** One for each conversation. @throws PointsmanError BAD_ARGUMENT */
export function checkAttributes(attributes: unknown, count: number): readonly Attributes[] | undefined {
  if (attributes === undefined) return undefined;
  const list = Array.isArray(attributes) ? attributes : new Array(count).fill(attributes);
  if (list.length !== count) {
    throw new PointsmanError(
      'BAD_ARGUMENT',
      `attributes must be one for all conversations or one for each of the ${count}, not ${list.length}`,
    );
  }
  const isName = (value: unknown) => typeof value === 'string' && value !== '';
  const whole = list.every(
    (each) => each !== null && typeof each === 'object' && !Array.isArray(each) && Object.entries(each).flat().every(isName),
  );
  if (!whole) throw new PointsmanError('BAD_ARGUMENT', "attributes must be objects of names and values, such as { category: 'java' }");
  return list;
}
