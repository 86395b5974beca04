/**
 * Outcomes from transcripts: whole conversations, with who answered each message, become interactions (one for each
 * answered message) that `learn` takes.
 *
 *   retry    was the answer asked for again? True where another answer to the same message follows, or the message says so
 *   rating   the stars that the answer was given, where it was
 *   length   messages after the answer
 *
 * Several answers to one message: all but the last were retried, each is an interaction with the same conversation, which
 * holds none of the other answers; the conversation goes on after the last, and `length` counts from there for that one
 * alone (the others are not followed by anything: 0 messages after them is what happened).
 *
 * Conversations still going are censored by a horizon: an answer counts when its horizon was over as the transcripts were
 * taken, or its conversation has ended, and then what happened within the horizon counts, for old conversations as for new
 * ones. A younger answer has neither `retry` nor `length`. Not even a retry that has happened: to keep the quick retries
 * and drop those answers whose retry may come would make experts look worse the newer their answers are. A rating stays.
 */
import { checkOptions, PointsmanError } from '../errors.js';
import type { Conversation, Interaction, Message, TaskOptions } from '../types.js';
import { checkPath } from './folder.js';
import { logLines } from './interactions.js';

/** A message of a transcript; what an expert wrote names the expert. */
export interface TranscriptMessage extends Message {
  /** Who wrote it; its messages are the answered ones. */
  expert?: string | undefined;
  /** When, ISO 8601. Needed for the horizon. */
  at?: string | undefined;
  /** Of an answer: was another asked for, within the horizon? For transcripts that keep only the last answer. */
  retry?: boolean | undefined;
  /** Of an answer: its stars, 1 to 5. */
  rating?: number | undefined;
  /** Of an answer: the probability with which the expert was chosen. */
  propensity?: number | undefined;
}

export interface Transcript {
  /** Oldest first. Consecutive messages with an `expert` answer the same message: all but the last were retried. */
  messages: readonly TranscriptMessage[];
  user?: string | undefined;
  group?: string | undefined;
  /** Nothing will follow. Default: not known; then times say which answers' horizon is over. */
  ended?: boolean | undefined;
}

/** What one answer was followed by, for a metric of one's own. */
export interface Answer {
  transcript: Transcript;
  /** Index of the answer in the messages. */
  place: number;
  /** The messages after it, within the horizon. */
  after: readonly TranscriptMessage[];
  /** Is the time that counts over? Else what has not happened may still happen. */
  complete: boolean;
}

export interface TranscriptOptions {
  /** Hours after an answer that count. Default 24. */
  horizon?: number | undefined;
  /** When the transcripts were taken, ISO 8601. Default: the latest time in them. */
  takenAt?: string | undefined;
  /** A further score, from 0 to 1 (metric `score`), or undefined where it is not known. */
  score?: ((answer: Answer) => number | undefined) | undefined;
}

const HOUR = 3_600_000;

/**
 * The interactions of transcripts, in order. An answer of which nothing is known yet is left out.
 * @throws PointsmanError BAD_DATA with the transcript's number, BAD_ARGUMENT
 */
export function interactionsOf(transcripts: readonly Transcript[], options: TranscriptOptions = {}): Interaction[] {
  const { horizon = 24, takenAt, score } = checkOptions(options, undefined, 'interactionsOf');
  if (!(typeof horizon === 'number' && horizon > 0))
    throw new PointsmanError('BAD_ARGUMENT', `horizon must be a number of hours above 0, not ${String(horizon)}`);
  const bad = (n: number) => (what: string) => new PointsmanError('BAD_DATA', `transcript ${n + 1}: ${what}`);
  const times = transcripts.map((transcript, n) => checkTranscript(transcript, bad(n)));
  const now = takenAt === undefined ? latest(times) : timeOf(takenAt, (what) => new PointsmanError('BAD_ARGUMENT', `takenAt ${what}`));
  return transcripts.flatMap((transcript, n) => {
    const at = times[n] as readonly number[];
    const found: Interaction[] = [];
    for (const [place, message] of transcript.messages.entries()) {
      if (message.expert === undefined) continue;
      const interaction = outcomesOf(transcript, place, at, { horizon: horizon * HOUR, now, score }, bad(n));
      if (interaction) found.push(interaction);
    }
    return found;
  });
}

/** Reads transcripts (JSON lines; `.gz` is unpacked). @throws PointsmanError BAD_DATA, FILE_MISSING, FILE_IO, ABORTED */
export async function readTranscripts(path: string, options: TaskOptions = {}): Promise<Transcript[]> {
  checkOptions(options, undefined, 'readTranscripts');
  checkPath(path, 'path');
  const transcripts: Transcript[] = [];
  for await (const { line, number } of logLines(path, options)) {
    const bad = (what: string) => new PointsmanError('BAD_DATA', `${path}, line ${number}: ${what}`);
    let transcript: Transcript;
    try {
      transcript = JSON.parse(line);
    } catch (cause) {
      throw bad(`not JSON (${(cause as Error).message})`);
    }
    checkTranscript(transcript, bad);
    transcripts.push(transcript);
  }
  return transcripts;
}

interface Frame {
  /** Milliseconds. */
  horizon: number;
  now: number;
  score: TranscriptOptions['score'];
}

function outcomesOf(
  transcript: Transcript,
  place: number,
  at: readonly number[],
  { horizon, now, score }: Frame,
  bad: (what: string) => PointsmanError,
): Interaction | undefined {
  const { messages, user, group, ended } = transcript;
  const answer = messages[place] as TranscriptMessage;
  let asked = place;
  while (asked > 0 && messages[asked - 1]?.expert !== undefined) asked--;
  if (asked === 0) throw bad(`message ${place + 1} answers nothing: an expert's message must follow another's`);
  const written = at[place] as number;
  const replaced = messages[place + 1]?.expert !== undefined && !((at[place + 1] as number) > written + horizon);
  const end = Number.isNaN(written)
    ? messages.length
    : place + 1 + at.slice(place + 1).filter((time) => !(time > written + horizon)).length;
  const after = replaced ? [] : messages.slice(place + 1, end);
  const complete = ended === true || now >= written + horizon; // never, where there is no time
  const told = Number.isNaN(written) && answer.retry !== undefined;
  const retry = complete || told ? replaced || answer.retry === true : undefined;
  const own = score?.({ transcript, place, after, complete });
  if (own !== undefined && !(own >= 0 && own <= 1)) throw bad(`the score of message ${place + 1} must be from 0 to 1, not ${own}`);
  const length = complete
    ? after.filter((message, i) => message.expert === undefined || after[i + 1]?.expert === undefined).length
    : undefined;
  if (retry === undefined && answer.rating === undefined && length === undefined && own === undefined) return undefined;
  return {
    conversation: shown(messages, asked),
    expert: answer.expert as string,
    ...(user !== undefined && { user }),
    ...(retry !== undefined && { retry }),
    ...(answer.rating !== undefined && { rating: answer.rating }),
    ...(length !== undefined && { length }),
    ...(own !== undefined && { score: own }),
    ...(answer.propensity !== undefined && { propensity: answer.propensity }),
    ...(answer.at !== undefined && { at: answer.at }),
    ...(group !== undefined && { group }),
  };
}

/** What was there when the message was routed: of several answers to an earlier message, the last. */
function shown(messages: readonly TranscriptMessage[], end: number): Conversation {
  return messages
    .slice(0, end)
    .filter((message, i) => message.expert === undefined || i + 1 === end || messages[i + 1]?.expert === undefined)
    .map(({ role, content }) => ({ role, content }));
}

/** The times of the messages, NaN where there is none. */
function checkTranscript(value: unknown, bad: (what: string) => PointsmanError): number[] {
  if (value === null || typeof value !== 'object' || !Array.isArray((value as Transcript).messages))
    throw bad('expected an object with messages');
  const { messages, user, group, ended } = value as Transcript;
  if (messages.length === 0) throw bad('it has no message');
  for (const [name, given] of Object.entries({ user, group }))
    if (given !== undefined && typeof given !== 'string') throw bad(`${name} must be a string`);
  if (ended !== undefined && typeof ended !== 'boolean') throw bad('ended must be true or false');
  let before = Number.NEGATIVE_INFINITY;
  return messages.map((message, i) => {
    const wrong = (what: string) => bad(`message ${i + 1}: ${what}`);
    if (message === null || typeof message !== 'object') throw wrong('expected an object');
    const { role, content, expert, at, retry, rating, propensity } = message;
    if (typeof role !== 'string' || typeof content !== 'string') throw wrong('role and content must be strings');
    if (expert !== undefined && (typeof expert !== 'string' || expert === '')) throw wrong('expert must be a string that is not empty');
    if (retry !== undefined && typeof retry !== 'boolean') throw wrong('retry must be true or false');
    if (rating !== undefined && !(typeof rating === 'number' && rating >= 1 && rating <= 5))
      throw wrong('rating must be a number from 1 to 5');
    if (propensity !== undefined && !(typeof propensity === 'number' && propensity > 0 && propensity <= 1))
      throw wrong('propensity must be above 0, at most 1');
    if (expert === undefined && (retry !== undefined || rating !== undefined || propensity !== undefined))
      throw wrong('retry, rating and propensity belong to the message of an expert');
    if (at === undefined) return Number.NaN;
    const time = timeOf(at, (what) => wrong(`at ${what}`));
    if (time < before) throw wrong('it is older than the one before it');
    before = time;
    return time;
  });
}

function timeOf(at: unknown, bad: (what: string) => PointsmanError): number {
  const time = typeof at === 'string' && /^\d{4}-\d\d-\d\d/.test(at) ? Date.parse(at) : Number.NaN;
  if (Number.isNaN(time)) throw bad('must be a time in ISO 8601');
  return time;
}

function latest(times: readonly (readonly number[])[]): number {
  return times.flat().reduce((last, time) => (time > last ? time : last), Number.NEGATIVE_INFINITY);
}
