/**
 * `pointsman import`: checks data as `learn` would read it, reports what is in it, and writes it as a clean log.
 *
 * A clean log has one record a line, only the fields that pointsman knows, in one order, times in UTC.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { PointsmanError, plural } from '../errors.js';
import { checkFile, interactionsOf, logLines, readTranscripts, tableOf } from '../learn/index.js';
import type { Interaction, OutcomeTable } from '../types.js';
import { type Command, fileError, noArguments, number, required, text, usage } from './command.js';
import { FORMATS, readData } from './data.js';
import { table } from './describe.js';

/** How many malformed lines are listed. */
const LISTED = 20;

export const importData: Command = {
  name: 'import',
  summary: 'checks a log or an outcome matrix, reports what is in it and writes a clean log',
  usage: '--data PATH [--out FILE] [options]',
  details:
    `Every record is checked; malformed lines are listed, the first ${LISTED} of them, and nothing is written unless\n` +
    `--skip-malformed is given. Without --out it only checks.\n\n${FORMATS}\n\n` +
    'With --transcripts the data is whole conversations, one a line of JSON, from which retry, rating and length are read:\n' +
    '  {"user":"u-17","ended":true,"messages":[{"role":"user","content":"Hi","at":"2026-01-31T09:30:00Z"},\n' +
    '   {"role":"assistant","content":"Hello!","expert":"maple-7b","rating":4,"at":"2026-01-31T09:30:05Z"}]}\n' +
    'Answers younger than the horizon count only where the conversation has ended; see docs/data.md.',
  example: 'pointsman import --data raw.jsonl --out log.jsonl.gz',
  options: {
    data: { type: 'string', value: 'PATH', help: 'a log in JSON lines (.gz too), or a folder with prompts.jsonl and scores.csv' },
    out: { type: 'string', value: 'FILE', help: 'the clean log to write; compressed where it ends with .gz' },
    transcripts: { type: 'boolean', help: 'the data is transcripts; --out becomes the log of their answers' },
    horizon: { type: 'string', value: 'HOURS', help: 'transcripts: what happened within these hours of an answer counts (default 24)' },
    'taken-at': { type: 'string', value: 'TIME', help: 'transcripts: when they were taken (default: the latest time in them)' },
    'skip-malformed': { type: 'boolean', help: 'leave malformed lines of a log out, and say how many' },
  },
  async run(values, positionals, { signal, onProgress }) {
    noArguments(positionals);
    const path = required(values, 'data');
    const out = text(values, 'out');
    if (out !== undefined) await checkFile(out);
    if (values.transcripts) {
      if (values['skip-malformed']) throw usage('--skip-malformed is for logs; transcripts must be whole');
      const transcripts = await readTranscripts(path, { signal });
      const log = interactionsOf(transcripts, { horizon: number(values, 'horizon'), takenAt: text(values, 'taken-at') });
      if (log.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', `${path}: no answer has an outcome yet`);
      if (out !== undefined) await write(out, log, signal);
      const of = {
        data: path,
        transcripts: transcripts.length,
        ...(out !== undefined && { out }),
        malformed: 0,
        ...describe(tableOf(log)),
      };
      return { json: of, text: reportText(of) };
    }
    if (text(values, 'horizon') ?? text(values, 'taken-at')) throw usage('--horizon and --taken-at are for --transcripts');
    const skipped = new Set<number>();
    const listed: string[] = [];
    const onMalformed = ({ message }: PointsmanError, line: number) => {
      skipped.add(line);
      if (listed.length < LISTED) listed.push(message.replace(`${path}, `, ''));
    };
    const { isMatrix, outcomes } = await readData(path, { signal, onProgress, onMalformed });
    if (isMatrix && values['skip-malformed']) throw usage('--skip-malformed is for logs; a matrix must be whole');
    const left = malformedText(listed, skipped.size);
    if (left !== undefined && !values['skip-malformed']) throw new PointsmanError('BAD_DATA', `${path}: ${left}`);
    if (outcomes.conversation.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', `${path}: no line is in order; ${left}`);
    onProgress?.({ stage: 'write', done: 0, total: 1 });
    if (out !== undefined) await write(out, isMatrix ? matrixRecords(outcomes) : logRecords(path, skipped), signal);
    const report = { data: path, ...(out !== undefined && { out }), malformed: skipped.size, ...describe(outcomes) };
    return { json: report, text: reportText(report, left) };
  },
};

/** One malformed line in one line, several as a list. */
function malformedText(listed: readonly string[], count: number): string | undefined {
  if (count === 0) return undefined;
  if (count === 1) return listed[0];
  const more = count > listed.length ? [`and ${count - listed.length} more`] : [];
  return [`${count} malformed lines`, ...listed, ...more].join('\n  ');
}

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

function reportText(report: ReturnType<typeof describe> & { data: string; out?: string; malformed: number }, left?: string): string {
  const { least, median, most } = report.recordsPerExpert;
  const rows = [
    ['records', String(report.records)],
    ['conversations', `${report.conversations} different, in ${plural(report.groups, 'group')}`],
    ['experts', `${report.experts}, with ${least} to ${most} records each (median ${median})`],
    ...Object.entries(report.metrics).map(([metric, count]) => [metric, plural(count, 'record')]),
    [
      'propensity',
      `${plural(report.withPropensity, 'record')}${report.withPropensity === 0 ? ': the log cannot be evaluated off-policy' : ''}`,
    ],
  ];
  const head = left === undefined ? 'in order' : `${plural(report.malformed, 'malformed line')} left out: ${left}`;
  return `${report.data}: ${head}\n${table(rows)}${report.out === undefined ? '' : `\nwritten to ${report.out}`}`;
}

/** The records of a log that was checked, without the lines that were found malformed. */
async function* logRecords(path: string, malformed: ReadonlySet<number>): AsyncGenerator<Interaction> {
  for await (const { line, number } of logLines(path)) {
    if (malformed.has(number)) continue;
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
