/**
 * The judge: a language model behind a chat endpoint scores experts' responses in the dimensions of a rubric, several
 * times each; the means are the experts' content-based features.
 *
 * One call scores one response in all of its dimensions once. What was asked is known before (the bill), what was answered
 * is kept in the cache (remote/answers.ts), so a run that was interrupted goes on where it ended, and a rerun of the same
 * costs nothing. Answers that do not hold to the form are asked for again, then left out and reported.
 */
import { setMaxListeners } from 'node:events';
import { checkOptions, PointsmanError } from '../errors.js';
import { Answers, CLIENT_OPTIONS, Client, type ClientOptions } from '../remote/index.js';
import type { Message, ScoreTable, TaskOptions } from '../types.js';
import type { Agreement } from './agreement.js';
import { type Bill, billOf, type Prices, type Usage } from './bill.js';
import { checkTemplate, DEFAULT_TEMPLATE, messagesFor, type PromptTemplate, schemaFor, scoresOf } from './prompt.js';
import { checkResponses, type ExpertResponse } from './responses.js';
import { applicable, type CheckedRubric, checkRubric, type Dimension, type Rubric } from './rubric.js';
import { tableOf } from './table.js';

export interface JudgeOptions extends ClientOptions, TaskOptions {
  rubric: Rubric;
  /** As the endpoint names it. */
  model: string;
  /** Of each response, 1–100. Default 2: the least that says how well they agree. */
  judgements?: number | undefined;
  /** Above 0, or judgements agree because they are copies. 0–2; default 0.7. */
  temperature?: number | undefined;
  template?: PromptTemplate | undefined;
  /** How the server is asked to hold the model to the form: `json_schema`, `json_object`, or `none` for servers that know neither. Default json_schema. */
  format?: 'json_schema' | 'json_object' | 'none' | undefined;
  /** How often an answer that does not hold to the form is asked for again, 0–10. Default 2. */
  repeats?: number | undefined;
  /** UTF-16 units of a conversation, and of a response, that the judge reads. Default 16,000. */
  maxCharacters?: number | undefined;
  /** A file that keeps what was answered. Default none. */
  cache?: string | undefined;
  /** For a million tokens. */
  prices?: Prices | undefined;
  /** Told what it will cost, before the first call; what it throws ends the run. */
  onBill?: ((bill: Bill) => void) | undefined;
}

/** A judgement that could not be had. */
export interface Failure {
  expert: string;
  /** Place among the responses. */
  response: number;
  judgement: number;
  message: string;
}

export interface Judged {
  /** Means over responses of the means over their judgements, scaled to 0–1. */
  table: ScoreTable;
  /** experts × dimensions: responses with a score. */
  counts: Uint32Array;
  /** experts × dimensions: standard deviation over the responses (n − 1); NaN for fewer than two. */
  spread: Float32Array;
  /** One a dimension. */
  agreement: Agreement[];
  /** As told before the first call. */
  bill: Bill;
  /** What was asked and what the server counted in this run. */
  usage: Usage;
  failures: Failure[];
}

/** With so many answers out of form and none in it, the model cannot do it: no more money. */
const HOPELESS = 10;
const OPTIONS = [
  ...CLIENT_OPTIONS,
  ...[
    'signal',
    'onProgress',
    'rubric',
    'model',
    'judgements',
    'temperature',
    'template',
    'format',
    'repeats',
    'maxCharacters',
    'cache',
    'prices',
    'onBill',
  ],
];

/** From the seed of one attempt to that of the next: more than there are judgements. */
const SEEDS = 1024;

/** One judgement of one response. */
interface Call {
  response: number;
  judgement: number;
  dimensions: readonly Dimension[];
  body: { messages: Message[]; seed: number; [field: string]: unknown };
  key: string;
}

/** What the judgements of these responses will cost; nothing is asked. @throws as `judge` does before its first call */
export async function judgeBill(responses: readonly ExpertResponse[], options: JudgeOptions): Promise<Bill> {
  const calls = callsFor(responses, options);
  const answers = await Answers.open(options.cache);
  try {
    return billOf(unasked(calls, answers), calls.length, options.prices);
  } finally {
    await answers.close();
  }
}

/**
 * @throws PointsmanError BAD_ARGUMENT, DUPLICATE_ID, NOT_ENOUGH_DATA where no response fits a dimension, ENDPOINT_FAILED,
 * BAD_RESPONSE where no answer holds to the form, FILE_IO, FILE_VERSION, ABORTED; the cache keeps what was answered
 */
export async function judge(responses: readonly ExpertResponse[], options: JudgeOptions): Promise<Judged> {
  const calls = callsFor(responses, options);
  const rubric = checkRubric(options.rubric);
  const client = new Client(options);
  const answers = await Answers.open(options.cache);
  try {
    const bill = billOf(unasked(calls, answers), calls.length, options.prices);
    options.onBill?.(bill);
    const run = new Run(client, answers, rubric, options);
    const scores = await run.all(different(calls), responses);
    const judgements = calls.map(({ key, ...call }) => ({ ...call, scores: scores.get(key) }));
    return { ...tableOf(responses, judgements, rubric), bill, usage: run.usage, failures: run.failures };
  } finally {
    await answers.close();
  }
}

function callsFor(responses: readonly ExpertResponse[], options: JudgeOptions): Call[] {
  checkOptions(options, OPTIONS, 'judge');
  checkResponses(responses);
  const { model, judgements = 2, temperature = 0.7, format = 'json_schema', repeats = 2, maxCharacters = 16_000 } = options;
  const bad = (what: string) => new PointsmanError('BAD_ARGUMENT', what);
  if (typeof model !== 'string' || model === '') throw bad('model must be the name of a chat model');
  for (const [name, value, least, most] of [
    ['judgements', judgements, 1, 100],
    ['repeats', repeats, 0, 10],
    ['maxCharacters', maxCharacters, 1, 2 ** 24],
  ] as const) {
    if (!Number.isInteger(value) || value < least || value > most)
      throw bad(`${name} must be an integer from ${least} to ${most}, not ${String(value)}`);
  }
  if (!(typeof temperature === 'number' && temperature >= 0 && temperature <= 2))
    throw bad(`temperature must be 0 to 2, not ${String(temperature)}`);
  if (!['json_schema', 'json_object', 'none'].includes(format))
    throw bad(`format must be json_schema, json_object or none, not ${String(format)}`);
  const rubric = checkRubric(options.rubric);
  const template = checkTemplate(options.template ?? DEFAULT_TEMPLATE);
  const calls: Call[] = [];
  for (const [n, response] of responses.entries()) {
    const dimensions = applicable(rubric, response);
    if (dimensions.length === 0) continue;
    const messages = messagesFor(response, dimensions, rubric.range, template, maxCharacters);
    for (let judgement = 0; judgement < judgements; judgement++) {
      const body = {
        model,
        messages,
        temperature,
        seed: judgement, // or a server that remembers gives the first answer again
        ...(format === 'json_object' && { response_format: { type: 'json_object' } }),
        ...(format === 'json_schema' && {
          response_format: { type: 'json_schema', json_schema: { name: 'scores', strict: true, schema: schemaFor(dimensions) } },
        }),
      };
      // Names and range are part of the question also where a template of one's own leaves them out.
      const key = Answers.key(['judgement', body, dimensions.map(({ name }) => name), rubric.range]);
      calls.push({ response: n, judgement, dimensions, body, key });
    }
  }
  if (calls.length === 0)
    throw new PointsmanError('NOT_ENOUGH_DATA', 'there is nothing to judge: no response fits a dimension of the rubric');
  return calls;
}

/** One of each question that must be asked. */
function unasked(calls: readonly Call[], answers: Answers): Call[] {
  return different(calls).filter(({ key }) => !answers.has(key));
}

/** The first of each question. */
function different(calls: readonly Call[]): Call[] {
  const byKey = new Map<string, Call>();
  for (const call of calls) if (!byKey.has(call.key)) byKey.set(call.key, call);
  return [...byKey.values()];
}

/** Calls under way, so many at a time. */
class Run {
  readonly usage: Usage = { calls: 0, promptTokens: 0, completionTokens: 0 };
  readonly failures: Failure[] = [];
  readonly #client: Client;
  readonly #answers: Answers;
  readonly #rubric: CheckedRubric;
  readonly #options: JudgeOptions;
  #done = 0;
  #inForm = 0;

  constructor(client: Client, answers: Answers, rubric: CheckedRubric, options: JudgeOptions) {
    this.#client = client;
    this.#answers = answers;
    this.#rubric = rubric;
    this.#options = options;
  }

  /** By key, the scores of each call, 0–1, in the order of its dimensions; none where it failed. */
  async all(calls: readonly Call[], responses: readonly ExpertResponse[]): Promise<Map<string, number[]>> {
    const { signal, onProgress, prices } = this.#options;
    const scores = new Map<string, number[]>();
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const onAbort = () => stop.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) stop.abort(signal.reason);
    let next = 0;
    const worker = async () => {
      for (let n = next++; n < calls.length; n = next++) {
        const call = calls[n] as Call;
        const found = await this.#one(call, (responses[call.response] as ExpertResponse).expert, stop.signal);
        if (found) scores.set(call.key, found);
        onProgress?.({ stage: 'judge', done: ++this.#done, total: calls.length });
      }
    };
    const workers = Array.from({ length: this.#client.concurrency }, () =>
      worker().catch((error: unknown) => {
        stop.abort(error);
        throw error;
      }),
    );
    try {
      await Promise.all(workers);
    } finally {
      await Promise.allSettled(workers); // the cache must not be closed under a worker
      signal?.removeEventListener('abort', onAbort);
    }
    this.failures.sort((a, b) => a.response - b.response || a.judgement - b.judgement);
    if (prices) this.usage.cost = (this.usage.promptTokens * prices.input + this.usage.completionTokens * prices.output) / 1e6;
    return scores;
  }

  async #one(call: Call, expert: string, signal: AbortSignal): Promise<number[] | undefined> {
    let scores: number[] | undefined;
    try {
      await this.#answers.ask([call.key], async (_, stop) => [await this.#judgement(call, stop)], {
        signal,
        onAnswer: (_, value) => {
          scores = value as number[];
        },
      });
      this.#inForm++;
    } catch (error) {
      if (!(error instanceof PointsmanError) || error.code !== 'BAD_RESPONSE') throw error;
      this.failures.push({ expert, response: call.response, judgement: call.judgement, message: error.message });
      if (this.#inForm === 0 && this.failures.length >= HOPELESS) throw error;
    }
    return scores;
  }

  async #judgement({ body, dimensions }: Call, signal: AbortSignal): Promise<number[]> {
    const [low, high] = this.#rubric.range;
    const { repeats = 2 } = this.#options;
    for (let left = repeats; ; left--) {
      this.usage.calls++;
      // Another seed, or a server that heeds it gives the same answer again.
      const completion = await this.#client.post('chat/completions', { ...body, seed: body.seed + SEEDS * (repeats - left) }, { signal });
      const { prompt_tokens, completion_tokens } = (completion as { usage?: { [name: string]: unknown } } | null)?.usage ?? {};
      this.usage.promptTokens += Number(prompt_tokens) || 0;
      this.usage.completionTokens += Number(completion_tokens) || 0;
      try {
        const scores = this.#client.understand(() => scoresOf(completion, dimensions, this.#rubric.range));
        return scores.map((score) => (score - low) / (high - low));
      } catch (error) {
        if (left === 0) throw error;
      }
    }
  }
}
