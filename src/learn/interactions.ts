/** Logs: interactions, one a line of JSON, as an outcome table. */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { checkOptions, PointsmanError } from '../errors.js';
import type { Attributes, Conversation, Interaction, MetricName, OutcomeTable, TaskOptions } from '../types.js';
import { checkAttributes } from './attributes.js';
import { checkPath } from './folder.js';
import { METRIC_NAMES, METRICS } from './metrics.js';

export interface ReadOptions extends TaskOptions {
  /** Told of each malformed line, which is then left out. Without it the first one ends the reading with BAD_DATA. */
  onMalformed?: ((error: PointsmanError, line: number) => void) | undefined;
}

/** A line of a log that is not empty; the first of a file is line 1. */
export interface LogLine {
  line: string;
  number: number;
}

/**
 * Reads a log (JSON lines; `.gz` is unpacked). Empty lines are passed over.
 * @throws PointsmanError BAD_DATA with the line's number, BAD_ARGUMENT, FILE_MISSING, FILE_IO, ABORTED
 */
export async function readInteractions(path: string, options: ReadOptions = {}): Promise<OutcomeTable> {
  const { signal, onMalformed } = checkOptions(options, undefined, 'readInteractions');
  checkPath(path, 'path');
  const builder = new TableBuilder();
  for await (const { line, number } of logLines(path, { signal })) {
    const where = `${path}, line ${number}`;
    try {
      builder.add(parseLine(line, where), where);
    } catch (error) {
      if (!onMalformed || !(error instanceof PointsmanError)) throw error;
      onMalformed(error, number);
    }
  }
  return builder.table();
}

/** The lines of a log as they stand. @throws PointsmanError FILE_MISSING, FILE_IO, ABORTED */
export async function* logLines(path: string, { signal }: TaskOptions = {}): AsyncGenerator<LogLine, void, undefined> {
  const file = createReadStream(path);
  // The callback is for those who do not read the stream: a failure reaches us as an exception of the loop.
  const input = path.endsWith('.gz') ? pipeline(file, createGunzip(), () => {}) : file;
  let number = 0;
  try {
    for await (const line of linesOf(input)) {
      number++;
      if (number % 1024 === 0 && signal?.aborted)
        throw new PointsmanError('ABORTED', `reading ${path} was aborted`, { cause: signal.reason });
      if (line.trim() !== '') yield { line, number };
    }
  } catch (error) {
    throw fileError(error, path);
  } finally {
    file.destroy();
  }
}

/** Interactions in memory as an outcome table. @throws PointsmanError BAD_DATA, BAD_ARGUMENT */
export function tableOf(interactions: Iterable<Interaction>): OutcomeTable {
  if (interactions === null || typeof interactions !== 'object' || !(Symbol.iterator in interactions)) {
    throw new PointsmanError(
      'BAD_ARGUMENT',
      'interactions must be an array, or something else to iterate over, of { conversation, expert, … }',
    );
  }
  const builder = new TableBuilder();
  let number = 0;
  for (const interaction of interactions) {
    builder.add(interaction, `interaction ${++number}`);
  }
  return builder.table();
}

/** A file system error in our words. */
export function fileError(error: unknown, path: string): PointsmanError {
  if (error instanceof PointsmanError) return error;
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === 'ENOENT' || code === 'ENOTDIR') return new PointsmanError('FILE_MISSING', `${path} does not exist`, { cause: error });
  return new PointsmanError('FILE_IO', `${path} could not be read: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  });
}

async function* linesOf(input: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of input) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() as string;
    yield* lines;
  }
  yield rest + decoder.decode();
}

function parseLine(line: string, where: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new PointsmanError('BAD_DATA', `${where}: not JSON (${(cause as Error).message})`, { cause });
  }
}

class TableBuilder {
  readonly #conversations: Conversation[] = [];
  readonly #conversationNumbers = new Map<string, number>();
  readonly #experts = new Numbering();
  readonly #groups = new Numbering();
  readonly #groupOf: number[] = [];
  readonly #texts = new Numbering();
  readonly #attributes: Attributes[] = [];
  #grouped = false;
  readonly #conversation: number[] = [];
  readonly #expert: number[] = [];
  readonly #values: { [metric in MetricName]: number[] } = { retry: [], rating: [], length: [], score: [] };
  readonly #propensity: number[] = [];
  readonly #at: number[] = [];

  add(value: unknown, where: string): void {
    const bad = (what: string) => new PointsmanError('BAD_DATA', `${where}: ${what}`);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw bad('expected an object');
    const record = value as { [field: string]: unknown };
    const conversation = conversationOf(record.conversation, bad);
    if (typeof record.expert !== 'string' || record.expert === '') throw bad('expert must be a string that is not empty');
    const values = METRIC_NAMES.map((name) => metricValue(name, record[name], bad));
    if (values.every(Number.isNaN)) throw bad(`no outcome: expected at least one of ${METRIC_NAMES.join(', ')}`);
    const { propensity, at, user, group } = record;
    const attributes = record.attributes === undefined ? {} : checkAttributes(record.attributes, bad);
    if (propensity !== undefined && !(typeof propensity === 'number' && propensity > 0 && propensity <= 1)) {
      throw bad('propensity must be a number above 0 and at most 1');
    }
    if (at !== undefined && !(typeof at === 'string' && /^\d{4}-\d\d-\d\d/.test(at) && !Number.isNaN(Date.parse(at)))) {
      throw bad('at must be a time in ISO 8601');
    }
    if (user !== undefined && typeof user !== 'string') throw bad('user must be a string');
    if (group !== undefined && typeof group !== 'string') throw bad('group must be a string');

    for (const [i, name] of METRIC_NAMES.entries()) this.#values[name].push(values[i] as number);
    this.#conversation.push(this.#numberOf(conversation, attributes, group));
    this.#expert.push(this.#experts.of(record.expert));
    this.#propensity.push(propensity ?? Number.NaN);
    this.#at.push(at === undefined ? Number.NaN : Date.parse(at));
  }

  table(): OutcomeTable {
    const metrics: { [metric in MetricName]?: Float32Array } = {};
    for (const name of METRIC_NAMES) {
      if (!this.#values[name].every(Number.isNaN)) metrics[name] = Float32Array.from(this.#values[name]);
    }
    return {
      conversations: this.#conversations,
      experts: this.#experts.names,
      conversation: Uint32Array.from(this.#conversation),
      expert: Uint32Array.from(this.#expert),
      metrics,
      ...(this.#attributes.some((each) => Object.keys(each).length > 0) && { attributes: this.#attributes }),
      ...(this.#grouped && { group: Uint32Array.from(this.#groupOf) }),
      ...(!this.#at.every(Number.isNaN) && { at: Float64Array.from(this.#at) }),
      ...(!this.#propensity.every(Number.isNaN) && { propensity: Float32Array.from(this.#propensity) }),
    };
  }

  /** Equal conversations of equal attributes are one, whoever answered them. */
  #numberOf(conversation: Conversation, attributes: Attributes, group: string | undefined): number {
    const text = JSON.stringify(conversation.map(({ role, content }) => [role, content]));
    const known = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = known.length === 0 ? text : `${text} ${JSON.stringify(known)}`;
    let number = this.#conversationNumbers.get(key);
    if (number === undefined) {
      number = this.#conversations.push(conversation) - 1;
      this.#conversationNumbers.set(key, number);
      this.#attributes.push(Object.fromEntries(known));
      const seen = this.#texts.names.length;
      const alone = this.#texts.of(text);
      if (alone < seen) this.#grouped = true; // the same text with other attributes must not lie on both sides of a split
      this.#groupOf.push(this.#groups.of(group === undefined ? `alone ${alone}` : `group ${group}`));
    }
    if (group !== undefined) {
      this.#grouped = true;
      this.#groupOf[number] = this.#groups.of(`group ${group}`);
    }
    return number;
  }
}

/** Numbers names in the order in which they come. */
export class Numbering {
  readonly names: string[] = [];
  readonly #numbers = new Map<string, number>();

  of(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.names.push(name) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }
}

function conversationOf(value: unknown, bad: (what: string) => PointsmanError): Conversation {
  if (!Array.isArray(value) || value.length === 0) throw bad('conversation must be a list of at least one message');
  return value.map((message: { role?: unknown; content?: unknown } | null, m) => {
    if (typeof message?.role !== 'string' || typeof message.content !== 'string') {
      throw bad(`message ${m + 1} of the conversation must have a role and a content, both strings`);
    }
    return { role: message.role, content: message.content };
  });
}

function metricValue(name: MetricName, value: unknown, bad: (what: string) => PointsmanError): number {
  if (value === undefined || value === null) return Number.NaN;
  const number = name === 'retry' ? (typeof value === 'boolean' ? Number(value) : Number.NaN) : value;
  if (typeof number !== 'number' || !METRICS[name].valid(number)) throw bad(`${name} must be ${METRICS[name].range}`);
  return number;
}
