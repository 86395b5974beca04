/** Checks that what callers pass as conversations is that. Messages count from 1 in what people read. */
import { PointsmanError } from '../errors.js';
import type { Conversation } from '../types.js';

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
