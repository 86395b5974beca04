/** `pointsman learn`: outcomes, scores or both in, a folder with a model out. */
import { plural } from '../errors.js';
import { checkFolder, type LearnedModel, learn, learnFromScores, readScoreTable } from '../learn/index.js';
import type { OutcomeTable, ScoreTable, TaskOptions } from '../types.js';
import { type Command, integer, nameList, noArguments, readText, required, text, usage, type Values } from './command.js';
import { parseLabelled } from './conversations.js';
import { FORMATS, readData } from './data.js';
import { ENCODER, encoderOf } from './encoder.js';

export const learnModel: Command = {
  name: 'learn',
  summary: 'learns from outcomes, from scores, or from both, which expert answers which conversations well',
  usage: '(--data PATH | --scores FILE) --out FOLDER [options]',
  details:
    `${FORMATS}\n\n` +
    'Rank and regularisation are chosen on a part that is held out from the data.\n' +
    '--scores takes a table as `pointsman judge` writes it: a header expert,creative,… and a row an expert, empty = missing.\n' +
    'With --data its dimensions become dimensions of the model, and experts without outcomes can be chosen by their scores.\n' +
    'Without --data the scores are all there is: either one of --attributes names the dimension that a conversation asks for, or\n' +
    '--labelled has examples, {"conversation":[{"role":"user","content":"Tell me a joke"}],"dimension":"creative"}, a line each.',
  example:
    'pointsman learn --data log.jsonl --out my-model\n' +
    '  pointsman learn --data log.jsonl --attributes tier,language --scores scores.csv --out my-model\n' +
    '  pointsman learn --scores scores.csv --labelled examples.jsonl --out my-model',
  options: {
    data: { type: 'string', value: 'PATH', help: 'the log, or the folder of a matrix' },
    scores: { type: 'string', value: 'FILE', help: 'a table (CSV) of experts in named dimensions' },
    out: { type: 'string', value: 'FOLDER', help: 'where the model goes' },
    attributes: {
      type: 'string',
      value: 'NAMES',
      help: 'learn from these attributes of conversations alone: a,b (category: that of a matrix); default: all of the log',
    },
    labelled: { type: 'string', value: 'FILE', help: 'without --data: conversations with the dimension that each asks for' },
    seed: { type: 'string', value: 'N', help: 'seed of what is held out and of the solvers (default 0)' },
    encoder: ENCODER,
  },
  async run(values, positionals, { signal, onProgress }) {
    noArguments(positionals);
    const out = required(values, 'out');
    const path = text(values, 'data');
    const table = text(values, 'scores');
    if (!path && !table) throw usage('--data is needed, or --scores, or both');
    integer(values, 'seed'); // a slip is said before anything is read
    nameList(values, 'attributes');
    if (path && text(values, 'labelled') !== undefined) throw usage('--labelled is for models without --data');
    await checkFolder(out);
    const scores = table ? await readScoreTable(table, { signal }) : undefined;
    const outcomes = path ? (await readData(path, { signal, onProgress })).outcomes : undefined;
    const started = performance.now();
    const model = outcomes
      ? await fromOutcomes(outcomes, scores, values, { signal, onProgress })
      : await fromScores(scores as ScoreTable, values, { signal, onProgress });
    await model.save(out, { signal });
    const seconds = (performance.now() - started) / 1000;
    const summary = { out, version: model.version, ...counts(model, outcomes, scores), seconds };
    return { json: summary, text: `${out}: ${describe(summary)}, ${seconds.toFixed(1)} s` };
  },
};

async function fromOutcomes(outcomes: OutcomeTable, content: ScoreTable | undefined, values: Values, tasks: TaskOptions) {
  const encoder = await encoderOf(values, tasks);
  const options = { seed: integer(values, 'seed'), attributes: nameList(values, 'attributes'), content, encoder, ...tasks };
  return learn(outcomes, options).finally(() => encoder?.close());
}

async function fromScores(scores: ScoreTable, values: Values, tasks: TaskOptions): Promise<LearnedModel> {
  const names = nameList(values, 'attributes');
  const labelled = text(values, 'labelled');
  if (text(values, 'encoder') !== undefined) throw usage('--encoder needs --data: scores alone are read with the built-in encoder');
  if ((names === undefined) === (labelled === undefined) || (names && names.length > 1)) {
    throw usage('--scores without --data needs either --labelled or --attributes with the one that names the dimension');
  }
  const examples = labelled === undefined ? undefined : parseLabelled(await readText(labelled), labelled);
  return learnFromScores(scores, { attribute: names?.[0], examples, seed: integer(values, 'seed'), ...tasks });
}

function counts(model: LearnedModel, outcomes: OutcomeTable | undefined, scores: ScoreTable | undefined) {
  const [scored, observed] = [new Set(scores?.experts), new Set(outcomes?.experts)];
  return {
    records: outcomes?.conversation.length ?? 0,
    conversations: outcomes?.conversations.length ?? 0,
    experts: new Set([...observed, ...scored]).size,
    metrics: model.metrics,
    dimensions: model.dimensionNames.length,
    attributes: model.attributeNames,
    encoder: model.parameters.encoder ?? null,
    reads: model.parameters.reads,
    remembered: model.parameters.neighbours?.conversations ?? 0,
    ...(scores && {
      scores: {
        dimensions: scores.dimensions,
        experts: scored.size,
        withoutOutcomes: scores.experts.filter((expert) => !observed.has(expert)).length,
        withoutScores: [...observed].filter((expert) => !scored.has(expert)).length,
      },
    }),
  };
}

function describe(summary: ReturnType<typeof counts>): string {
  const { records, conversations, experts, metrics, dimensions, scores, remembered, encoder, reads } = summary;
  const observed = experts - (scores?.withoutOutcomes ?? 0);
  const of =
    records > 0 ? [`${plural(records, 'outcome')} of ${plural(observed, 'expert')} in ${plural(conversations, 'conversation')}`] : [];
  if (scores) {
    const lacking = records > 0 ? ` (${scores.withoutOutcomes} without outcomes; ${scores.withoutScores} others without scores)` : '';
    of.push(`scores of ${plural(scores.experts, 'expert')} in ${scores.dimensions.join(', ')}${lacking}`);
  }
  const parts = [
    ...(reads.includes('text') ? ['the text'] : []),
    ...(reads.includes('encoder') ? ["the encoder's vectors"] : []),
    ...(remembered > 0 ? [`its neighbours among ${plural(remembered, 'conversation')}`] : []),
  ];
  const unused = parts.length === 1 && reads.includes('text') ? ' alone, which tells as much: the encoder will not be asked' : '';
  const note = encoder ? `; goes by ${parts.join(', ')}${unused}` : '';
  return `learned ${metrics.join(', ')} in ${plural(dimensions, 'dimension')} from ${of.join(', and ')}${note}`;
}
