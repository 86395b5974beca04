/** What experts answered, as the judge reads it: JSON lines. */
import { checkOptions, PointsmanError } from '../errors.js';
import { logLines } from '../learn/index.js';
import type { Conversation, TaskOptions } from '../types.js';

export interface ExpertResponse {
  expert: string;
  /** Ends before the response. */
  conversation: Conversation;
  response: string;
  dataset?: string | undefined;
  category?: string | undefined;
}

/**
 * Lines `{"expert":"maple-7b","conversation":[…],"response":"…"}`, where `"prompt":"…"` stands for a conversation of one
 * message; `dataset` and `category` where the rubric asks for them. `.gz` is unpacked, empty lines are passed over.
 * @throws PointsmanError BAD_DATA with the line's number, FILE_MISSING, FILE_IO, ABORTED
 */
export async function readResponses(path: string, options: TaskOptions = {}): Promise<ExpertResponse[]> {
  checkOptions(options, undefined, 'readResponses');
  const responses: ExpertResponse[] = [];
  for await (const { line, number } of logLines(path, options)) {
    const bad = (what: string, cause?: unknown) => new PointsmanError('BAD_DATA', `${path}, line ${number}: ${what}`, { cause });
    let record: unknown;
    try {
      record = JSON.parse(line);
    } catch (cause) {
      throw bad(`not JSON (${(cause as Error).message})`, cause);
    }
    const { prompt, ...rest } = (record ?? {}) as { [field: string]: unknown };
    const conversation =
      rest.conversation === undefined && typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : rest.conversation;
    const wrong = faultOf({ ...rest, conversation });
    if (wrong !== undefined) throw bad(wrong);
    const { expert, response, dataset, category } = rest as unknown as ExpertResponse;
    responses.push({
      expert,
      conversation: conversation as Conversation,
      response,
      ...(dataset && { dataset }),
      ...(category && { category }),
    });
  }
  return responses;
}

/** @throws PointsmanError BAD_ARGUMENT */
export function checkResponses(responses: unknown): asserts responses is readonly ExpertResponse[] {
  if (!Array.isArray(responses))
    throw new PointsmanError('BAD_ARGUMENT', 'responses must be an array of { expert, conversation, response }');
  for (const [n, response] of responses.entries()) {
    const wrong = faultOf(response);
    if (wrong !== undefined) throw new PointsmanError('BAD_ARGUMENT', `response ${n + 1}: ${wrong}`);
  }
}

function faultOf(value: unknown): string | undefined {
  if (value === null || typeof value !== 'object') return 'expected an object with expert, conversation and response';
  const { expert, conversation, response, dataset, category } = value as { [field: string]: unknown };
  if (typeof expert !== 'string' || expert === '') return 'expert must be a string that is not empty';
  if (typeof response !== 'string') return 'response must be a string';
  for (const [name, given] of Object.entries({ dataset, category })) {
    if (given !== undefined && given !== null && typeof given !== 'string') return `${name} must be a string`;
  }
  const isMessage = (message: unknown) => {
    const { role, content } = (message ?? {}) as { role?: unknown; content?: unknown };
    return typeof role === 'string' && typeof content === 'string';
  };
  if (!Array.isArray(conversation) || conversation.length === 0 || !conversation.every(isMessage)) {
    return 'conversation must be a list of at least one { role, content }, both strings, or prompt a string';
  }
  return undefined;
}
