/** `--member 'factors=256 penalty=6,12'`: models to put into an ensemble, beside the `--ensemble` many of the other options. */
import type { EnsembleMember, FactoriseOptions } from '../learn/index.js';
import { type Option, usage, type Values } from './command.js';

/** More than anybody has the time to compare. */
export const MOST_SETTINGS = 1000;
const NAMES = ['factors', 'unobserved', 'penalty', 'exponent', 'deviation', 'weight'] as const;

export const MEMBER_OPTION: Option = {
  type: 'string',
  multiple: true,
  value: "'NAME=N …'",
  help: `a further member of the ensemble, by what is different of it: ${NAMES.join(', ')}; repeatable`,
};

/** For each `--member` the models that it names: of several values of a setting (with commas) each with each. */
export function membersGiven(values: Values): EnsembleMember[][] {
  const given = values.member;
  return Array.isArray(given) ? given.map((member) => grid(String(member))) : [];
}

/** `count` members of the common model, and others. A count that cannot be is left to `factorise` to refuse. */
export function ensembleOf(count = 1, others: readonly EnsembleMember[]): FactoriseOptions['ensemble'] {
  const possible = Number.isInteger(count) && count >= 1 && count <= 1000;
  return others.length === 0 || !possible ? count : [...Array.from({ length: count }, () => ({})), ...others];
}

/** `1,2` as numbers, none of them left out. */
export function numbersOf(list: string): number[] {
  return list.split(',').map((each) => (each.trim() === '' ? Number.NaN : Number(each)));
}

function grid(member: string): EnsembleMember[] {
  let all: EnsembleMember[] = [{}];
  for (const part of member.trim().split(/\s+/)) {
    const [, name = '', list = ''] = /^(\w+)=(\S+)$/.exec(part) ?? [];
    const known = NAMES.find((each) => each === name);
    const numbers = numbersOf(list);
    if (known === undefined || all.some((each) => known in each) || !numbers.every(Number.isFinite))
      throw usage(`--member must look like 'factors=256 penalty=12', of ${NAMES.join(', ')}, not '${member}'`);
    if (all.length * numbers.length > MOST_SETTINGS)
      throw usage(`--member names more than ${MOST_SETTINGS} models: '${member.slice(0, 80)} …'`);
    all = all.flatMap((each) => numbers.map((value) => ({ ...each, [known]: value })));
  }
  return all;
}
