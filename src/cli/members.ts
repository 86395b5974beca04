/** `--member 'factors=256 penalty=6,12'`: models to put into an ensemble, beside the `--ensemble` many of the other options. */
import type { EnsembleMember, FactoriseOptions } from '../learn/index.js';
import { type Option, usage, type Values } from './command.js';

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

/** `count` members of the common model, and others. */
export function ensembleOf(count: number | undefined, others: readonly EnsembleMember[]): FactoriseOptions['ensemble'] {
  return others.length === 0 ? count : [...Array.from({ length: count ?? 1 }, () => ({})), ...others];
}

function grid(member: string): EnsembleMember[] {
  let all: EnsembleMember[] = [{}];
  for (const part of member.trim().split(/\s+/)) {
    const [, name = '', list = ''] = /^(\w+)=(\S+)$/.exec(part) ?? [];
    const known = NAMES.find((each) => each === name);
    const numbers = list.split(',').map((each) => (each === '' ? Number.NaN : Number(each)));
    if (known === undefined || all.some((each) => known in each) || !numbers.every(Number.isFinite))
      throw usage(`--member must look like 'factors=256 penalty=12', of ${NAMES.join(', ')}, not '${member}'`);
    all = all.flatMap((each) => numbers.map((value) => ({ ...each, [known]: value })));
  }
  return all;
}
