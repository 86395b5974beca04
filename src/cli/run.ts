/**
 * Runs one command line: finds the command, reads its options, prints its outcome or its error.
 *
 * Standard output carries the result alone, standard error everything else. Exit codes: 0 done, 1 failed, 2 wrong
 * usage, 130 interrupted.
 */
import { parseArgs } from 'node:util';
import { PointsmanError } from '../errors.js';
import type { Command, Option } from './command.js';
import { doctor } from './doctor.js';
import { evaluate } from './evaluate.js';
import { factoriseHistories } from './factorise.js';
import { importData } from './import.js';
import { indexVectors } from './index-vectors.js';
import { judgeResponses } from './judge.js';
import { learnModel } from './learn.js';
import { findObjective } from './objective.js';
import { progressLine } from './progress.js';
import { routeConversations } from './route.js';

const COMMANDS: readonly Command[] = [
  importData,
  learnModel,
  routeConversations,
  evaluate,
  indexVectors,
  judgeResponses,
  factoriseHistories,
  findObjective,
  doctor,
];

const COMMON: { readonly [name: string]: Option } = {
  json: { type: 'boolean', help: 'print JSON' },
  progress: { type: 'boolean', help: 'show progress on standard error also when it is no terminal' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
};

/** The world that a command line runs in. */
export interface Terminal {
  stdin: AsyncIterable<Buffer | string>;
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown; isTTY?: boolean | undefined };
  /** Aborted by an interrupt. */
  signal: AbortSignal;
  version: string;
}

/** @returns the exit code */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  const { stdout, stderr, stdin, signal, version } = terminal;
  const asJson = args.includes('--json');
  try {
    const [name, ...rest] = args;
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      stdout.write(overview());
      return name === undefined ? 2 : 0;
    }
    if (name === '--version' || name === '-v') {
      stdout.write(`${version}\n`);
      return 0;
    }
    const command = COMMANDS.find((each) => each.name === name);
    if (!command) {
      const names = COMMANDS.map((each) => each.name).join(', ');
      throw new PointsmanError('USAGE', `there is no command '${name}'; there are ${names}`);
    }
    const { values, positionals } = parse(command, rest);
    if (values.help) {
      stdout.write(help(command));
      return 0;
    }
    const progress = values.progress || (stderr.isTTY && !values.json) ? progressLine(stderr) : undefined;
    try {
      const notice = (line: string) => {
        progress?.clear();
        stderr.write(`${line}\n`);
      };
      const outcome = await command.run(values, positionals, { signal, onProgress: progress?.listener, stdin, notice });
      progress?.clear();
      stdout.write(values.json ? `${JSON.stringify(outcome.json, null, 2)}\n` : `${outcome.text}\n`);
      return outcome.failed ? 1 : 0;
    } finally {
      progress?.clear();
    }
  } catch (error) {
    const known = error instanceof PointsmanError ? error : undefined;
    const code = known?.code ?? 'INTERNAL';
    const message = error instanceof Error ? error.message : String(error);
    if (asJson) stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    else stderr.write(`error: ${message} (${code})\n`);
    if (!known && error instanceof Error) stderr.write(`${error.stack}\n`);
    if (signal.aborted && code === 'ABORTED') return 130;
    return code === 'USAGE' ? 2 : 1;
  }
}

function parse(command: Command, args: string[]) {
  try {
    const options = { ...command.options, ...COMMON };
    return parseArgs({ args: joinNegatives(args, options), options, allowPositionals: true, strict: true });
  } catch (cause) {
    const message = (cause instanceof Error ? cause.message : String(cause)).replace(/\.?\s*\n.*/s, ''); // parseArgs goes on with advice
    throw new PointsmanError('USAGE', `${message}. See: pointsman ${command.name} --help`, { cause });
  }
}

/** `-k -3` as `--k=-3`: parseArgs would take the number for an option. */
function joinNegatives(args: readonly string[], options: { readonly [name: string]: Option }): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [arg, next] = [args[i] as string, args[i + 1]];
    if (arg === '--') return [...joined, ...args.slice(i)];
    const found = Object.entries(options).find(([name, { short }]) => arg === `--${name}` || (short && arg === `-${short}`));
    if (found?.[1].type === 'string' && next !== undefined && /^-\.?\d/.test(next)) {
      joined.push(`--${found[0]}=${next}`);
      i++;
    } else {
      joined.push(arg);
    }
  }
  return joined;
}

function overview(): string {
  const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(11)}${summary}`);
  return (
    'pointsman: which expert model should answer a conversation, learned from outcomes\n\n' +
    `Usage: pointsman <command> [options]\n\n${rows.join('\n')}\n\n` +
    "'pointsman <command> --help' tells more. Every command takes --json.\n"
  );
}

function help(command: Command): string {
  const options = Object.entries({ ...command.options, ...COMMON });
  const left = ([name, { short, value, type }]: [string, Option]) =>
    `  --${name}${short ? `, -${short}` : ''}${type === 'string' ? ` ${value ?? 'VALUE'}` : ''}`;
  const width = Math.max(...options.map((option) => left(option).length)) + 2;
  const rows = options.map((option) => left(option).padEnd(width) + option[1].help);
  return (
    `${command.summary}\n\nUsage: pointsman ${command.name} ${command.usage}\n` +
    `${command.details ? `\n${command.details}\n` : ''}\n${rows.join('\n')}\n\nExample:\n  ${command.example}\n`
  );
}
