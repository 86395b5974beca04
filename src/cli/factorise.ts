/** `pointsman factorise`: histories of users in, vectors of users and experts out. */
import { PointsmanError, plural } from '../errors.js';
import { checkFile, checkFolder, factorise, isInteractionFile, readPreferences, writeInteractionFile } from '../learn/index.js';
import { type Command, integer, noArguments, number, required, text, usage } from './command.js';
import { ensembleOf, MEMBER_OPTION, membersGiven } from './members.js';

export const factoriseHistories: Command = {
  name: 'factorise',
  summary: 'learns vectors of users and experts from who was content with whom (collaborative filtering)',
  usage: '--data PATH (--out FOLDER | --to-file FILE) [options]',
  details:
    'The data is one of\n' +
    '  a log            records with a user (docs/data.md); one that was retried, or has fewer than 3 stars or a score\n' +
    '                   below 0.5, tells of no preference\n' +
    '  numbers          a line a user: user expert expert …\n' +
    '  an interaction file, from --to-file: sorted, checked, and read in pieces, so that it may exceed memory\n' +
    'The same data, settings and seed give the same bits, also when a run is stopped and resumed.',
  example: 'pointsman factorise --data log.jsonl --out my-factors --factors 64 --checkpoint run.checkpoint',
  options: {
    data: { type: 'string', value: 'PATH', help: 'the log, numbers or interaction file' },
    out: { type: 'string', value: 'FOLDER', help: 'where the vectors go' },
    'to-file': { type: 'string', value: 'FILE', help: 'write an interaction file instead, and learn nothing' },
    memory: { type: 'string', value: 'MIB', help: '--to-file: memory for what is being sorted (default 1024)' },
    factors: { type: 'string', value: 'K', help: 'dimensions of the vectors (default 64)' },
    unobserved: { type: 'string', value: 'ALPHA', help: 'weight of pairs without an interaction (default 0.1)' },
    penalty: { type: 'string', value: 'LAMBDA', help: 'regularisation (default 0.01)' },
    exponent: { type: 'string', value: 'NU', help: 'the penalty grows with the interactions to this power (default 1)' },
    ensemble: {
      type: 'string',
      value: 'N',
      help: 'factorisations of these settings side by side, whose mean scores better (default 1); --member adds others',
    },
    member: MEMBER_OPTION,
    sweeps: { type: 'string', value: 'N', help: 'over all users and experts (default 8)' },
    seed: { type: 'string', value: 'N', help: 'of the first vectors (default 0)' },
    checkpoint: { type: 'string', value: 'FILE', help: 'replaced after every sweep' },
    resume: { type: 'boolean', help: 'go on from the checkpoint' },
  },
  async run(values, positionals, { signal, onProgress }) {
    noArguments(positionals);
    const path = required(values, 'data');
    const [out, file, checkpoint] = [text(values, 'out'), text(values, 'to-file'), text(values, 'checkpoint')];
    if ((out === undefined) === (file === undefined)) throw usage('give --out or --to-file');
    if (values.resume && checkpoint === undefined) throw usage('--resume needs --checkpoint');
    const isFile = await isInteractionFile(path);
    onProgress?.({ stage: 'read', done: 0, total: 1 });
    if (file !== undefined) {
      if (isFile) throw new PointsmanError('BAD_ARGUMENT', `${path} is an interaction file already`);
      const memory = (integer(values, 'memory', 1) ?? 1024) * 2 ** 20;
      const counts = await writeInteractionFile(path, file, { memory, signal, onProgress });
      return {
        json: { out: file, ...counts },
        text: `${file}: ${plural(counts.interactions, 'interaction')} of ${plural(counts.users, 'user')} and ${plural(counts.experts, 'expert')}`,
      };
    }
    const folder = out as string;
    const others = membersGiven(values).map((models) => {
      const [model, another] = models;
      if (model === undefined || another !== undefined)
        throw usage('--member has one value of each setting here; evaluate compares several');
      return model;
    });
    await checkFolder(folder);
    if (checkpoint !== undefined) await checkFile(checkpoint);
    const preferences = isFile ? path : await readPreferences(path, { signal });
    const started = performance.now();
    const model = await factorise(preferences, {
      factors: integer(values, 'factors', 1),
      unobserved: number(values, 'unobserved'),
      penalty: number(values, 'penalty'),
      exponent: number(values, 'exponent'),
      ensemble: ensembleOf(integer(values, 'ensemble', 1), others),
      sweeps: integer(values, 'sweeps', 1),
      seed: integer(values, 'seed'),
      checkpoint,
      resume: values.resume === true,
      signal,
      onProgress,
    });
    const seconds = (performance.now() - started) / 1000;
    await model.save(folder, { signal });
    const { members, users, experts, interactions } = model.arrays;
    const perSecond = Math.round((interactions * model.sweeps) / seconds);
    return {
      json: {
        out: folder,
        users: users.length,
        experts: experts.length,
        interactions,
        members,
        sweeps: model.sweeps,
        seconds,
        interactionsPerSecond: perSecond,
      },
      text:
        `${folder}: ${plural(model.factors, 'factor')} of ${plural(users.length, 'user')} and ${plural(experts.length, 'expert')} from ` +
        `${plural(interactions, 'interaction')}, ${plural(model.sweeps, 'sweep')} in ${seconds.toFixed(1)} s (${perSecond.toLocaleString('en')} interactions a second)`,
    };
  },
};
