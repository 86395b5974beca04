/** `pointsman route`: which expert should answer, and why. */
import { type Decision, Router } from '../route/index.js';
import {
  attributes,
  type Command,
  exploring,
  idList,
  integer,
  objective,
  readText,
  required,
  resultCount,
  text,
  usage,
} from './command.js';
import { ask, parseConversations, readAll } from './conversations.js';
import { describeDecision } from './describe.js';
import { ENCODER, encoderOf } from './encoder.js';
import { restrict } from './predict.js';

export const routeConversations: Command = {
  name: 'route',
  summary: 'says which expert should answer a conversation, and why',
  usage: '--model FOLDER ("conversation" | --file FILE|-) [options]',
  details:
    'The conversation is one message given as text, or comes from a file or standard input (-): a JSON array of\n' +
    "conversations, or JSON lines. Without --objective the model's metrics weigh retry=-1,rating=0.5,length=0.2,score=1.\n" +
    'Lines with "attributes", as in a log, are routed by those that the model knows; --attributes holds for all of them.',
  example:
    'pointsman route --model my-model "Write a poem about rain" --objective retry=-1,rating=0.5 -k 3\n' +
    '  pointsman route --model my-model "Write a poem about rain" --attributes tier=gold,language=en\n' +
    '  pointsman route --model my-model "Write a poem about rain" --explore thompson --among 20',
  options: {
    model: { type: 'string', value: 'FOLDER', help: 'what `pointsman learn` wrote' },
    file: { type: 'string', value: 'FILE', help: 'conversations as JSON or JSON lines; - reads standard input' },
    k: { type: 'string', short: 'k', value: 'N', help: 'how many candidates to list (default 5)' },
    objective: { type: 'string', value: 'WEIGHTS', help: 'weights over metrics with natural signs: retry=-1,rating=0.5' },
    attributes: { type: 'string', value: 'LIST', help: 'what is known besides the text: tier=gold,language=en' },
    eligible: { type: 'string', multiple: true, value: 'IDS', help: 'only these experts: a,b or @file with an id a line' },
    exclude: { type: 'string', multiple: true, value: 'IDS', help: 'none of these experts: a,b or @file with an id a line' },
    'ignore-unknown': { type: 'boolean', help: 'pass over ids of --eligible and --exclude that the model does not know' },
    explore: {
      type: 'string',
      value: 'HOW',
      help: "a number: with this probability try one of the best candidates at random; 'thompson': each as likely as it is the best",
    },
    among: { type: 'string', value: 'N', help: 'how many of the best take part in exploring (default: k)' },
    seed: { type: 'string', value: 'N', help: 'makes exploring repeatable' },
    encoder: ENCODER,
  },
  async run(values, positionals, { signal, stdin }) {
    const folder = required(values, 'model');
    const file = text(values, 'file');
    if (positionals.length > 1) throw usage('put the conversation in quotes');
    if ((positionals.length === 1) === (file !== undefined)) throw usage('give either a conversation or --file');
    const given = attributes(values);
    const options = {
      k: resultCount(values),
      objective: objective(values),
      eligible: await idList(values, 'eligible'),
      exclude: await idList(values, 'exclude'),
      ignoreUnknown: values['ignore-unknown'] === true,
      explore: exploring(values),
      seed: integer(values, 'seed'),
      signal,
    };
    const encoder = await encoderOf(values, { signal });
    try {
      const router = await Router.open(folder, { encoder, signal });
      const asked =
        file === undefined
          ? [{ conversation: ask(positionals[0] as string, 'the conversation'), attributes: {} }]
          : parseConversations(file === '-' ? await readAll(stdin) : await readText(file), file === '-' ? 'standard input' : file);
      const all = asked.map((each) => ({ ...restrict(each.attributes, router.attributeNames), ...given }));
      const decisions: Decision[] = await router.route(
        asked.map(({ conversation }) => conversation),
        { ...options, attributes: all.some((each) => Object.keys(each).length > 0) ? all : undefined },
      );
      return { json: decisions, text: decisions.map((decision) => describeDecision(decision, router)).join('\n\n') };
    } finally {
      await encoder?.close();
    }
  },
};
