/**
 * Outcome matrices: `prompts.jsonl` (one object a line: `i`, `prompt`, and where known `split`, `category`, `group`,
 * `functions`) and `scores.csv` (header `model,0,1,2,…`; one row an expert; column j is the score of prompt i = j, from
 * 0 to 1; an empty cell is missing).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkOptions, PointsmanError } from '../errors.js';
import type { Conversation, OutcomeTable, TaskOptions } from '../types.js';
import { checkPath } from './folder.js';
import { fileError } from './interactions.js';
import { METRICS } from './metrics.js';

interface Prompt {
  conversation: Conversation;
  split: string;
  category: string;
  group: string | undefined;
}

/** @throws PointsmanError BAD_DATA with file and line, FILE_MISSING, FILE_IO, ABORTED */
export async function readOutcomeMatrix(folder: string, options: TaskOptions = {}): Promise<OutcomeTable> {
  const { signal } = checkOptions(options, undefined, 'readOutcomeMatrix');
  checkPath(folder, 'folder');
  const promptsPath = join(folder, 'prompts.jsonl');
  const scoresPath = join(folder, 'scores.csv');
  const read = (path: string) =>
    readFile(path, { encoding: 'utf8', ...(signal && { signal }) }).catch((error: unknown) => {
      if (signal?.aborted) throw new PointsmanError('ABORTED', `reading ${path} was aborted`, { cause: error });
      throw fileError(error, path);
    });
  const prompts = readPrompts(await read(promptsPath), promptsPath);
  const scores = readScores(await read(scoresPath), scoresPath, prompts.length);
  return {
    conversations: prompts.map((prompt) => prompt.conversation),
    ...scores,
    ...(prompts.some((prompt) => prompt.group !== undefined) && { group: groupsOf(prompts) }),
    ...(prompts.some((prompt) => prompt.split !== '') && { split: prompts.map((prompt) => prompt.split) }),
    ...(prompts.some((prompt) => prompt.category !== '') && { category: prompts.map((prompt) => prompt.category) }),
  };
}

function readPrompts(content: string, path: string): Prompt[] {
  const prompts: Prompt[] = [];
  for (const [n, line] of content.split('\n').entries()) {
    if (line.trim() === '') continue;
    const bad = (what: string, cause?: unknown) => new PointsmanError('BAD_DATA', `${path}, line ${n + 1}: ${what}`, { cause });
    let record: { [field: string]: unknown };
    try {
      record = JSON.parse(line);
    } catch (cause) {
      throw bad(`not JSON (${(cause as Error).message})`, cause);
    }
    if (typeof record?.prompt !== 'string') throw bad('prompt must be a string');
    if (record.i !== undefined && record.i !== prompts.length) throw bad(`i must be ${prompts.length}, the prompt's column`);
    const name = (value: unknown) => (value === undefined || value === null ? '' : String(value));
    prompts.push({
      conversation: [{ role: 'user', content: record.prompt + functionsText(record.functions, bad) }],
      split: name(record.split),
      category: name(record.category),
      group: name(record.group) || undefined,
    });
  }
  return prompts;
}

/** Functions that may be called are part of what is asked. */
function functionsText(functions: unknown, bad: (what: string) => PointsmanError): string {
  if (functions === undefined || functions === null) return '';
  if (!Array.isArray(functions)) throw bad('functions must be a list');
  return functions
    .map((entry: { name?: unknown; description?: unknown } | null) => {
      if (typeof entry?.name !== 'string') throw bad('a function must have a name');
      return `\n${entry.name} ${typeof entry.description === 'string' ? entry.description : ''}`;
    })
    .join('');
}

function groupsOf(prompts: readonly Prompt[]): Uint32Array {
  const numbers = new Map<string, number>();
  return Uint32Array.from(prompts, ({ group }, i) => {
    const key = group === undefined ? `alone ${i}` : `group ${group}`;
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return number;
  });
}

function readScores(content: string, path: string, prompts: number): Pick<OutcomeTable, 'experts' | 'conversation' | 'expert' | 'metrics'> {
  const bad = (line: number, what: string) => new PointsmanError('BAD_DATA', `${path}, line ${line}: ${what}`);
  const lines = content.split(/\r?\n/);
  const header = lines[0]?.split(',') ?? [];
  if (header[0] !== 'model') throw bad(1, "the header must begin with 'model'");
  if (header.length !== prompts + 1) throw bad(1, `${header.length - 1} columns, but there are ${prompts} prompts`);
  for (let j = 0; j < prompts; j++) {
    if (header[j + 1] !== String(j)) throw bad(1, `column ${j + 2} must be headed ${j}`);
  }
  const experts: string[] = [];
  const seen = new Set<string>();
  const conversation: number[] = [];
  const expert: number[] = [];
  const score: number[] = [];
  for (let n = 1; n < lines.length; n++) {
    const line = lines[n] as string;
    if (line.trim() === '') continue;
    const cells = line.split(',');
    const name = cells[0] as string;
    if (name === '' || seen.has(name)) throw bad(n + 1, name === '' ? 'the model has no name' : `the model '${name}' is there twice`);
    if (cells.length !== prompts + 1) throw bad(n + 1, `${cells.length - 1} scores, but there are ${prompts} prompts`);
    seen.add(name);
    for (let j = 0; j < prompts; j++) {
      const cell = (cells[j + 1] as string).trim();
      if (cell === '') continue;
      const value = Number(cell);
      if (!METRICS.score.valid(value)) throw bad(n + 1, `cell ${j + 2}, '${cell}', must be ${METRICS.score.range}`);
      conversation.push(j);
      expert.push(experts.length);
      score.push(value);
    }
    experts.push(name);
  }
  return {
    experts,
    conversation: Uint32Array.from(conversation),
    expert: Uint32Array.from(expert),
    metrics: { score: Float32Array.from(score) },
  };
}
