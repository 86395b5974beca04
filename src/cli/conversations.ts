/**
 * Conversations from a file or from standard input: a JSON array of conversations, one conversation, or JSON lines.
 * A conversation is an array of messages, an object with `conversation` (a line of a log) or with `messages`, or a
 * string, which stands for one message of the user. Objects may carry `attributes`, as lines of a log do.
 */
import { PointsmanError } from '../errors.js';
import { checkAttributes, type LabelledConversation } from '../learn/index.js';
import type { Attributes, Conversation } from '../types.js';

const ACCEPTED =
  'accepted are a JSON array of conversations, one conversation, or JSON lines, where a conversation is a list of { "role", "content" }, ' +
  'an object with "conversation" or "messages", or a string in quotes';

/** A conversation to be routed, and what is known of it besides its text. */
export interface Asked {
  conversation: Conversation;
  attributes: Attributes;
}

export function parseConversations(content: string, source: string): Asked[] {
  return itemsOf(content, source).map(({ item, where }) => ({ conversation: conversation(item, where), attributes: known(item, where) }));
}

/** Conversations with the dimension that each asks for: `{ "conversation", "dimension" }`. */
export function parseLabelled(content: string, source: string): LabelledConversation[] {
  return itemsOf(content, source).map(({ item, where }) => {
    const { dimension } = (item ?? {}) as { dimension?: unknown };
    if (typeof dimension !== 'string' || dimension === '') {
      throw new PointsmanError('BAD_DATA', `${where}: expected { "conversation", "dimension" }, the dimension a name of the score table`);
    }
    return { conversation: conversation(item, where), dimension };
  });
}

function itemsOf(content: string, source: string): { item: unknown; where: string }[] {
  const trimmed = content.trim();
  if (trimmed === '') throw new PointsmanError('BAD_DATA', `${source} is empty`);
  const whole = tryJson(trimmed);
  if (whole !== undefined) {
    const list = Array.isArray(whole) && !isMessages(whole) ? whole : [whole];
    if (list.length === 0) throw new PointsmanError('BAD_DATA', `${source} is an empty list: there is nothing to route`);
    return list.map((item, i) => ({ item, where: `${source}, conversation ${i + 1}` }));
  }
  return trimmed.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    const item = tryJson(line);
    if (item === undefined) throw new PointsmanError('BAD_DATA', `${source}, line ${i + 1}: not JSON; ${ACCEPTED}`);
    return [{ item, where: `${source}, line ${i + 1}` }];
  });
}

/** One message of the user, as typed on the command line. @throws PointsmanError BAD_CONVERSATION */
export function ask(content: string, where: string): Conversation {
  if (content.trim() === '') throw empty(where);
  return [{ role: 'user', content }];
}

export async function readAll(stream: AsyncIterable<Buffer | string>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString('utf8');
}

function tryJson(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined; // JSON holds no undefined
  }
}

function isMessages(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((item) => item !== null && typeof item === 'object' && 'role' in item);
}

function known(item: unknown, where: string): Attributes {
  const { attributes } = (item ?? {}) as { attributes?: unknown };
  return attributes === undefined ? {} : checkAttributes(attributes, (what) => new PointsmanError('BAD_DATA', `${where}: ${what}`));
}

function conversation(item: unknown, where: string): Conversation {
  if (typeof item === 'string') return ask(item, where);
  if (isMessages(item)) return item as Conversation; // the router checks the messages
  if (item !== null && typeof item === 'object') {
    const { conversation, messages } = item as { conversation?: unknown; messages?: unknown };
    const found = conversation ?? messages;
    if (isMessages(found)) return found as Conversation;
    if (isEmpty(item) || isEmpty(found)) throw empty(where);
  }
  throw new PointsmanError('BAD_CONVERSATION', `${where}: expected messages { role, content }, { "conversation": [...] } or a string`);
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function empty(where: string): PointsmanError {
  return new PointsmanError('BAD_CONVERSATION', `${where}: the conversation is empty`);
}
