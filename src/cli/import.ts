/**
 * `pointsman import`: checks data as `learn` would read it, reports what is in it, and writes it as a clean log.
 *
 * A clean log has one record a line, only the fields that pointsman knows, in one order, times in UTC.
 */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { PointsmanError } from '../errors.js';
import type { Interaction, OutcomeTable } from '../types.js';
import { type Command, fileError, required, text, usage } from './command.js';
import { type Data, readData } from './data.js';
import { table } from './describe.js';

export const importData: Command = {
  name: 'import',
  summary: 'checks a log or an outcome matrix, reports what is in it and writes a clean log',
  usage: '--data PATH [--out FILE] [options]',
  details: 'Every record is checked; the first that is malformed is named by file and line. Without --out it only checks.',
  example: 'pointsman import --data raw.jsonl --out log.jsonl.gz',
  options: {
    data: { type: 'string', value: 'PATH', help: 'a log in JSON lines (.gz too), or a folder with prompts.jsonl and scores.csv' },
    out: { type: 'string', value: 'FILE', help: 'the clean log to write; compressed where it ends with .gz' },
  },
  async run(values, positionals, { signal, onProgress }) {
    if (positionals.length > 0) throw usage(`unexpected argument '${positionals[0]}'`);
    const out = text(values, 'out');
    const data = await readData(required(values, 'data'), { signal, onProgress });
    onProgress?.({ stage: 'write', done: 0, total: 1 });
    if (out !== undefined) await write(out, data.isMatrix ? matrixRecords(data.outcomes) : logRecords(data), signal);
    const report = { data: data.path, ...(out !== undefined && { out }), ...describe(data.outcomes) };
    return { json: report, text: reportText(report) };
  },
};

/** What is in the data. */
function describe({ conversations, experts, conversation, expert, metrics, propensity, group }: OutcomeTable) {
  const known = (column: Float32Array) => column.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0);
  const byExpert = new Uint32Array(experts.length);
  for (const e of expert) byExpert[e] = (byExpert[e] as number) + 1;
  const sorted = byExpert.toSorted();
  return {
    records: conversation.length,
    conversations: conversations.length,
    experts: experts.length,
    groups: group ? new Set(group).size : conversations.length,
    metrics: Object.fromEntries(Object.entries(metrics).map(([metric, column]) => [metric, known(column)])),
    withPropensity: propensity ? known(propensity) : 0,
    recordsPerExpert: { least: sorted[0] ?? 0, median: sorted[sorted.length >> 1] ?? 0, most: sorted.at(-1) ?? 0 },
  };
}

function reportText(report: ReturnType<typeof describe> & { data: string; out?: string }): string {
  const { least, median, most } = report.recordsPerExpert;
  const rows = [
    ['records', String(report.records)],
    ['conversations', `${report.conversations} different, in ${report.groups} groups`],
    ['experts', `${report.experts}, with ${least} to ${most} records each (median ${median})`],
    ...Object.entries(report.metrics).map(([metric, count]) => [metric, `${count} records`]),
    ['propensity', `${report.withPropensity} records${report.withPropensity === 0 ? ': the log cannot be evaluated off-policy' : ''}`],
  ];
  return `${report.data}: in order\n${table(rows)}${report.out === undefined ? '' : `\nwritten to ${report.out}`}`;
}

/** The records of a log that was found in order. */
async function* logRecords({ path }: Data): AsyncGenerator<Interaction> {
  const file = createReadStream(path);
  const lines = createInterface({ input: path.endsWith('.gz') ? file.pipe(createGunzip()) : file, crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    if (line.trim() === '') continue;
    const { conversation, expert, user, retry, rating, length, score, propensity, at, group } = JSON.parse(line) as Interaction;
    yield {
      conversation: conversation.map(({ role, content }) => ({ role, content })),
      expert,
      ...defined({ user, retry, rating, length, score, propensity, group, at: at && new Date(at).toISOString() }),
    };
  }
}

function* matrixRecords({ conversations, experts, conversation, expert, metrics, group }: OutcomeTable): Generator<Interaction> {
  for (const [n, c] of conversation.entries()) {
    yield {
      conversation: conversations[c] ?? [],
      expert: experts[expert[n] as number] as string,
      ...defined({ score: metrics.score?.[n], group: group && String(group[c]) }),
    };
  }
}

function defined<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as T & object;
}

/** Writes beside the file first: an interrupted import leaves no half of one, and may replace its own input. */
async function write(path: string, records: Iterable<Interaction> | AsyncIterable<Interaction>, signal: AbortSignal): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = createWriteStream(temporary);
    const end = path.endsWith('.gz') ? createGzip() : file;
    if (end !== file) end.pipe(file);
    const done = finished(file);
    done.catch(() => end.destroy()); // awaited below
    for await (const record of records) {
      if (signal.aborted) throw new PointsmanError('ABORTED', 'import was aborted', { cause: signal.reason });
      if (!end.write(`${JSON.stringify(record)}\n`)) await Promise.race([once(end, 'drain'), done]);
    }
    end.end();
    await done;
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error instanceof PointsmanError ? error : fileError(path, error);
  }
}
