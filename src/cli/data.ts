/** Data as the commands take it: a log in JSON lines, or the folder of an outcome matrix. */
import { stat } from 'node:fs/promises';
import { PointsmanError } from '../errors.js';
import { type ReadOptions, readInteractions, readOutcomeMatrix } from '../learn/index.js';
import type { OutcomeTable } from '../types.js';
import { fileError } from './command.js';

/** The formats in short, for --help; docs/data.md has the whole. */
export const FORMATS =
  'The data is a log, JSON lines (.gz too), one answered message a line:\n' +
  '  {"conversation":[{"role":"user","content":"Hi"}],"expert":"maple-7b","retry":false,"rating":4,"length":3}\n' +
  '  conversation, expert   needed; the conversation ends before the answer\n' +
  '  retry true or false, rating 1 to 5, length (messages after the answer) 0 or more, score 0 to 1\n' +
  '                         at least one of these outcomes\n' +
  '  propensity             probability with which the expert was chosen, above 0, at most 1: for off-policy\n' +
  '  group, user, at        near-duplicates share a group; who asked; when (ISO 8601)\n' +
  'or an outcome matrix, a folder with\n' +
  '  prompts.jsonl          a prompt a line: {"i":0,"prompt":"Hi","split":"train","category":"chat","group":"g1"}\n' +
  '  scores.csv             header model,0,1,…; a row a model: its name, its scores from 0 to 1, empty = missing\n' +
  'Every field: docs/data.md in the package.';

export interface Data {
  path: string;
  isMatrix: boolean;
  outcomes: OutcomeTable;
}

/** @throws PointsmanError FILE_MISSING, FILE_IO, BAD_DATA, NOT_ENOUGH_DATA where there is nothing in it, ABORTED */
export async function readData(path: string, options: ReadOptions): Promise<Data> {
  const found = await stat(path).catch((cause: unknown) => {
    throw fileError(path, cause);
  });
  const isMatrix = found.isDirectory();
  options.onProgress?.({ stage: 'read', done: 0, total: 1 });
  let malformed = 0;
  const onMalformed = (error: PointsmanError, line: number) => {
    malformed++;
    options.onMalformed?.(error, line);
  };
  const outcomes = await (isMatrix
    ? readOutcomeMatrix(path, options)
    : readInteractions(path, options.onMalformed ? { ...options, onMalformed } : options));
  // Where every line is malformed, that is what the command has to say.
  if (outcomes.conversation.length === 0 && malformed === 0) {
    throw new PointsmanError('NOT_ENOUGH_DATA', `${path}: ${isMatrix ? 'the matrix holds no score' : 'the log is empty'}`);
  }
  return { path, isMatrix, outcomes };
}
