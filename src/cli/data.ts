/** Data as the commands take it: a log in JSON lines, or the folder of an outcome matrix. */
import { stat } from 'node:fs/promises';
import { readInteractions, readOutcomeMatrix } from '../learn/index.js';
import type { OutcomeTable, TaskOptions } from '../types.js';
import { fileError } from './command.js';

export interface Data {
  path: string;
  isMatrix: boolean;
  outcomes: OutcomeTable;
}

/** @throws PointsmanError FILE_MISSING, FILE_IO, BAD_DATA, ABORTED */
export async function readData(path: string, options: TaskOptions): Promise<Data> {
  const found = await stat(path).catch((cause: unknown) => {
    throw fileError(path, cause);
  });
  const isMatrix = found.isDirectory();
  options.onProgress?.({ stage: 'read', done: 0, total: 1 });
  return { path, isMatrix, outcomes: await (isMatrix ? readOutcomeMatrix(path, options) : readInteractions(path, options)) };
}
