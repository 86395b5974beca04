/** The door of learning: takes what people have, a log in memory or an outcome table, and refuses what is neither. */
import { checkOptions, PointsmanError, someOf } from '../errors.js';
import type { Interaction, OutcomeTable } from '../types.js';
import { tableOf } from './interactions.js';
import { type LearnOptions, learn as learnTable } from './learn.js';
import { METRICS } from './metrics.js';
import type { LearnedModel } from './model.js';

/**
 * Learns from interactions, or from the table that `readInteractions`, `readOutcomeMatrix` or `tableOf` made of some.
 * @throws PointsmanError NOT_ENOUGH_DATA, BAD_DATA, BAD_CONVERSATION, BAD_ARGUMENT, WRONG_SHAPE, ABORTED
 */
export async function learn(outcomes: Iterable<Interaction> | OutcomeTable, options: LearnOptions = {}): Promise<LearnedModel> {
  checkOptions(options, undefined, 'learn');
  const table = asTable(outcomes);
  if (table.conversation.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'there is nothing to learn from: the log is empty');
  return learnTable(table, options);
}

/** @throws PointsmanError BAD_DATA, BAD_ARGUMENT */
export function asTable(outcomes: Iterable<Interaction> | OutcomeTable): OutcomeTable {
  return isTable(outcomes) ? outcomes : tableOf(outcomes);
}

/** @throws PointsmanError BAD_ARGUMENT for a table that lacks a column, or has one of an unknown metric */
function isTable(outcomes: Iterable<Interaction> | OutcomeTable): outcomes is OutcomeTable {
  if (outcomes === null || typeof outcomes !== 'object' || Symbol.iterator in outcomes) return false; // tableOf says what is wrong
  const { conversations, experts, conversation, expert, metrics } = outcomes;
  const whole =
    Array.isArray(conversations) &&
    Array.isArray(experts) &&
    conversation instanceof Uint32Array &&
    expert instanceof Uint32Array &&
    metrics !== null &&
    typeof metrics === 'object';
  if (whole) {
    const unknown = Object.keys(metrics).filter((name) => !Object.hasOwn(METRICS, name));
    if (unknown.length === 0) return true;
    throw new PointsmanError(
      'BAD_ARGUMENT',
      `the table has unknown metrics: ${someOf(unknown)}; known are ${Object.keys(METRICS).join(', ')}`,
    );
  }
  throw new PointsmanError(
    'BAD_ARGUMENT',
    'learn takes interactions, or an outcome table with conversations, experts, conversation, expert and metrics',
  );
}
