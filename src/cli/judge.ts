/** `pointsman judge`: a language model scores experts' responses in named dimensions. */
import { PointsmanError, plural } from '../errors.js';
import { type Bill, type Judged, type JudgeOptions, judge, judgeBill, type Rubric, readResponses } from '../judge/index.js';
import { checkFile, writeScoreTable } from '../learn/index.js';
import { type Command, integer, noArguments, number, oneOf, readText, required, text, usage, type Values } from './command.js';
import { table } from './describe.js';

/** Failures that are listed. */
const LISTED = 10;

export const judgeResponses: Command = {
  name: 'judge',
  summary: 'scores experts in named dimensions by a language model that reads their responses',
  usage: '--responses FILE --rubric FILE --endpoint URL --model NAME --out FILE [options]',
  details:
    'The responses are JSON lines (.gz too):\n' +
    '  {"expert":"maple-7b","prompt":"Write a haiku","response":"Old pond …","dataset":"chat","category":"poems"}\n' +
    '  or "conversation":[{"role":"user","content":"…"},…] for prompt; dataset and category only where the rubric asks for them\n' +
    'The rubric is JSON:\n' +
    '  {"range":[0,10],"dimensions":[{"name":"creative","description":"original, playful, surprising"},…]}\n' +
    '  a dimension with "dataset" or "category" is for responses of these alone\n' +
    'The result is a table in CSV, expert,creative,…, with means from 0 to 1. What the judge answered is kept in --cache: a run\n' +
    'that was interrupted goes on where it ended. --dry-run tells the bill and asks nothing. The format is in docs/judge.md.',
  example:
    'pointsman judge --responses responses.jsonl --rubric rubric.json --endpoint http://localhost:8000/v1 --model Qwen/Qwen3-32B --out scores.csv --dry-run',
  options: {
    responses: { type: 'string', value: 'FILE', help: "experts' responses in JSON lines" },
    rubric: { type: 'string', value: 'FILE', help: 'the dimensions and what they mean' },
    endpoint: { type: 'string', value: 'URL', help: 'an OpenAI-compatible endpoint, up to the version: https://api.openai.com/v1' },
    model: { type: 'string', value: 'NAME', help: 'the judge, as the endpoint names it' },
    out: { type: 'string', value: 'FILE', help: 'where the table goes' },
    'api-key-env': { type: 'string', value: 'NAME', help: 'the environment variable that holds the key of the endpoint' },
    cache: { type: 'string', value: 'FILE', help: 'where answers are kept (default: OUT.answers.jsonl)' },
    judgements: { type: 'string', value: 'N', help: 'of each response (default 2)' },
    temperature: { type: 'string', value: 'T', help: 'of the judge, 0 to 2 (default 0.7)' },
    format: { type: 'string', value: 'NAME', help: 'what the server knows: json_schema (default), json_object or none' },
    template: { type: 'string', value: 'FILE', help: 'a prompt of your own: JSON {"system","user"}, see docs/judge.md' },
    concurrency: { type: 'string', value: 'N', help: 'requests at a time, 1 to 64 (default 8)' },
    timeout: { type: 'string', value: 'SECONDS', help: 'that an answer may take (default 60)' },
    'price-input': { type: 'string', value: 'P', help: 'of a million tokens of prompts' },
    'price-output': { type: 'string', value: 'P', help: 'of a million tokens of answers' },
    'dry-run': { type: 'boolean', help: 'tell the bill and stop' },
  },
  async run(values, positionals, { signal, onProgress, notice }) {
    noArguments(positionals);
    const path = required(values, 'responses');
    const rubricPath = required(values, 'rubric');
    const out = required(values, 'out');
    const template = text(values, 'template');
    const timeout = number(values, 'timeout');
    const options: JudgeOptions = {
      baseUrl: required(values, 'endpoint'),
      model: required(values, 'model'),
      rubric: (await readJson(rubricPath)) as Rubric,
      apiKeyEnv: text(values, 'api-key-env'),
      cache: text(values, 'cache') ?? `${out}.answers.jsonl`,
      judgements: integer(values, 'judgements', 1),
      temperature: number(values, 'temperature'),
      format: oneOf(values, 'format', ['json_schema', 'json_object', 'none'] as const),
      template: template === undefined ? undefined : ((await readJson(template)) as JudgeOptions['template']),
      concurrency: integer(values, 'concurrency', 1),
      timeout: timeout === undefined ? undefined : Math.round(timeout * 1000),
      prices: pricesOf(values),
      signal,
      onProgress,
    };
    await checkFile(out);
    const responses = await readResponses(path, { signal });
    if (values['dry-run']) {
      const bill = await judgeBill(responses, options);
      return { json: { responses: responses.length, bill }, text: `${plural(responses.length, 'response')}: ${billText(bill)}` };
    }
    const judged = await judge(responses, { ...options, onBill: (bill) => notice(`to be asked: ${billText(bill)}`) });
    await writeScoreTable(out, judged.table);
    return { json: report(out, judged), text: describe(out, judged), failed: judged.failures.length > 0 };
  },
};

async function readJson(path: string): Promise<unknown> {
  const content = await readText(path);
  try {
    return JSON.parse(content);
  } catch (cause) {
    throw new PointsmanError('BAD_DATA', `${path}: not JSON (${(cause as Error).message})`, { cause });
  }
}

function pricesOf(values: Values): JudgeOptions['prices'] {
  const [input, output] = [number(values, 'price-input'), number(values, 'price-output')];
  if (input === undefined && output === undefined) return undefined;
  if (input === undefined || output === undefined) throw usage('--price-input and --price-output belong together');
  return { input, output };
}

function billText({ calls, known, promptTokens, completionTokens, cost }: Bill): string {
  const price = cost === undefined ? '' : `, which costs about ${cost.toPrecision(3)}`;
  return `${plural(calls, 'call')} (${known} known already), about ${promptTokens} tokens of prompts and ${completionTokens} of answers${price}`;
}

/** NaN, which JSON lacks, as null. */
function report(out: string, { table: { dimensions, experts, scores }, counts, spread, agreement, bill, usage: used, failures }: Judged) {
  const width = dimensions.length;
  const cells = experts.map((expert, e) => ({
    expert,
    scores: Object.fromEntries(
      dimensions.map((name, d) => {
        const cell = e * width + d;
        return [name, { score: scores[cell], responses: counts[cell], deviation: spread[cell] }];
      }),
    ),
  }));
  return { out, dimensions, experts: cells, agreement, bill, usage: used, failures };
}

function describe(out: string, judged: Judged): string {
  const { agreement, usage: used, failures, table: scored } = judged;
  const digits = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(3));
  const rows = agreement.map(({ dimension, responses, alpha, deviation }) => [
    dimension,
    String(responses),
    digits(alpha),
    digits(deviation),
  ]);
  const cost = used.cost === undefined ? '' : `, ${used.cost.toPrecision(3)} by the tokens that the server counted`;
  const shown = failures.slice(0, LISTED).map(({ expert, response, message }) => `  response ${response + 1} (${expert}): ${message}`);
  return [
    `${out}: ${plural(scored.experts.length, 'expert')} in ${plural(scored.dimensions.length, 'dimension')}; ${plural(used.calls, 'call')} made${cost}`,
    '',
    table([['dimension', 'responses judged twice or more', "Krippendorff's alpha", 'deviation within'], ...rows]),
    ...(failures.length > 0
      ? ['', `${plural(failures.length, 'judgement')} could not be had; a rerun asks for them alone:`, ...shown]
      : []),
    ...(failures.length > LISTED ? [`  and ${failures.length - LISTED} more`] : []),
  ].join('\n');
}
