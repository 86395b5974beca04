/** What `factorise` can be asked for: a model, or an ensemble of models. */
import { MAX_DIMENSIONS } from '../engine/index.js';
import { checkOptions, PointsmanError } from '../errors.js';
import type { TaskOptions } from '../types.js';
import type { FactorSettings } from './factors-addon.js';

/** The model of one factorisation. */
export interface FactorModel {
  /** k, the dimensions of the vectors: 1 … 1024, and those of all members at most 4,096. Default 64. */
  factors?: number | undefined;
  /** α: how much a pair without an interaction counts as a 0, beside 1 for an interaction: 0 … 1e6. Default 0.1. */
  unobserved?: number | undefined;
  /** λ: 1e-9 … 1e9. Default 0.01. */
  penalty?: number | undefined;
  /** ν: the penalty grows as (interactions + α·others)^ν: 0 (the same for all) … 2. Default 1. */
  exponent?: number | undefined;
  /** Of the first vectors' length: 1e-6 … 1000. Default 0.1. */
  deviation?: number | undefined;
}

/** A member of an ensemble: what it does not say is as in the options that it stands in. */
export interface EnsembleMember extends FactorModel {
  /** Of its score in the mean, 1e-6 … 1e6. Default 1. */
  weight?: number | undefined;
}

export interface FactoriseOptions extends FactorModel, TaskOptions {
  /**
   * Factorisations put side by side, each from other first vectors: so many of one model, or a list of models. The vectors
   * have all members' dimensions, and their product is the mean of the members' scores, each weighed by weight·(1 + α): what a
   * member explains fully scores 1 / (1 + α) in it. Models that err differently gain most. 1 … 16 members. Default 1.
   */
  ensemble?: number | readonly EnsembleMember[] | undefined;
  /** Default 8. */
  sweeps?: number | undefined;
  /** The same seed gives the same bits, whatever threads and instruction set. Default 0. */
  seed?: number | undefined;
  /** Default: all of the pool. */
  threads?: number | undefined;
  /** A file that is replaced after every sweep, by which a run that was stopped can go on; of an ensemble's later members, beside it. */
  checkpoint?: string | undefined;
  /** Go on from the checkpoint: it must be of the same interactions and settings; `sweeps` may be higher. */
  resume?: boolean | undefined;
}

const MODEL = { factors: 64, unobserved: 0.1, penalty: 0.01, exponent: 1, deviation: 0.1 };
const DEFAULTS: FactorSettings = { ...MODEL, sweeps: 8, seed: 0 };
const MEMBER = { ...MODEL, weight: 1 };
/** As `FactorModel` and `EnsembleMember` say. */
const RANGES: { readonly [name in keyof typeof MEMBER]: readonly [number, number] } = {
  factors: [1, 1024],
  unobserved: [0, 1e6],
  penalty: [1e-9, 1e9],
  exponent: [0, 2],
  deviation: [1e-6, 1000],
  weight: [1e-6, 1e6],
};
const MOST_MEMBERS = 16;
/** Of the members' seeds: far enough for nobody's own seeds to meet them. */
const SEED_STEP = 2 ** 40;
/** Names of the options. */
export const OPTIONS = [...Object.keys(DEFAULTS), 'ensemble', 'threads', 'checkpoint', 'resume', 'signal', 'onProgress'];

/** A member's settings, all of them. */
export interface FactorMember extends FactorSettings {
  readonly weight: number;
}

/** The dimensions of all members. */
export function dimensionsOf(members: readonly FactorMember[]): number {
  return members.reduce((sum, { factors }) => sum + factors, 0);
}

/** The members that are asked for, one where there is no ensemble. @throws PointsmanError BAD_ARGUMENT */
export function membersOf(options: FactoriseOptions): FactorMember[] {
  const { ensemble = 1 } = options;
  const settings = numbersOf(options, DEFAULTS, '');
  const list = typeof ensemble === 'number' ? sameMembers(ensemble) : ensemble;
  if (!Array.isArray(list) || list.length < 1 || list.length > MOST_MEMBERS)
    throw new PointsmanError('BAD_ARGUMENT', `ensemble must be an integer from 1 to ${MOST_MEMBERS}, or a list of as many models`);
  const { seed } = settings;
  if (list.length > 1 && seed >= SEED_STEP)
    throw new PointsmanError('BAD_ARGUMENT', `the seed of an ensemble must be below 2^40, not ${seed}`);
  const members = Array.from(list, (member: EnsembleMember, m) => {
    checkOptions(member, Object.keys(MEMBER), `member ${m} of the ensemble`);
    const own = numbersOf(member, { ...MEMBER, ...modelOf(settings) }, ` of member ${m}`);
    const of = list.length > 1 ? ` of member ${m}` : '';
    for (const [name, [least, most]] of Object.entries(RANGES)) {
      const value = own[name as keyof typeof MEMBER];
      if (value < least || value > most || (name === 'factors' && !Number.isInteger(value)))
        throw new PointsmanError(
          'BAD_ARGUMENT',
          `${name}${of} must be ${name === 'factors' ? 'an integer ' : ''}from ${least} to ${most}, not ${value}`,
        );
    }
    return { ...settings, ...own, seed: seed + m * SEED_STEP };
  });
  const dimensions = dimensionsOf(members);
  if (dimensions > MAX_DIMENSIONS)
    throw new PointsmanError(
      'BAD_ARGUMENT',
      `the members have ${dimensions} factors together; an index holds ${MAX_DIMENSIONS} dimensions at most`,
    );
  return members;
}

function sameMembers(count: number): EnsembleMember[] | undefined {
  return Number.isInteger(count) && count >= 1 && count <= MOST_MEMBERS ? Array.from({ length: count }, () => ({})) : undefined;
}

function modelOf({ factors, unobserved, penalty, exponent, deviation }: FactorSettings): typeof MODEL {
  return { factors, unobserved, penalty, exponent, deviation };
}

/** What `options` has of the names in `defaults`, as finite numbers. */
function numbersOf<T extends { [name in keyof T]: number }>(options: object, defaults: T, of: string): T {
  const given = Object.entries<number>(defaults).map(([name, or]) => {
    const value = (options as { [name: string]: unknown })[name] ?? or;
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw new PointsmanError('BAD_ARGUMENT', `${name}${of} must be a finite number, not ${String(value)}`);
    return [name, value];
  });
  return Object.fromEntries(given) as T;
}
