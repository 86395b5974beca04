/** Checks that what callers pass as conversations is that. */
import { PointsmanError } from '../errors.js';
import type { Conversation } from '../types.js';

/** @throws PointsmanError BAD_ARGUMENT, BAD_CONVERSATION */
export function checkConversations(conversations: unknown): readonly Conversation[] {
  if (!Array.isArray(conversations)) {
    throw new PointsmanError('BAD_ARGUMENT', 'conversations must be an array of conversations, each an array of messages');
  }
  for (const [i, conversation] of conversations.entries()) {
    if (!Array.isArray(conversation) || conversation.length === 0) {
      throw new PointsmanError('BAD_CONVERSATION', `conversation ${i} must be an array of at least one { role, content } message`);
    }
    for (const [j, message] of conversation.entries()) {
      if (message === null || typeof message !== 'object' || typeof message.role !== 'string' || typeof message.content !== 'string') {
        throw new PointsmanError('BAD_CONVERSATION', `message ${j} of conversation ${i} must have role and content, both strings`);
      }
    }
  }
  return conversations as Conversation[];
}
