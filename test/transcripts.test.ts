import { describe, expect, it } from 'vitest';
import { interactionsOf, type Transcript } from '../src/learn/transcripts.js';

const at = (hour: number) => new Date(Date.UTC(2026, 0, 1) + hour * 3_600_000).toISOString();
const ask = (content: string, hour?: number) => ({ role: 'user', content, ...(hour !== undefined && { at: at(hour) }) });
const answer = (expert: string, hour?: number, more: object = {}) => ({
  role: 'assistant',
  content: `by ${expert}`,
  expert,
  ...(hour !== undefined && { at: at(hour) }),
  ...more,
});

describe('transcripts', () => {
  it('gives each answered message its outcomes, with the conversation that it answered', () => {
    const transcript: Transcript = {
      user: 'u',
      ended: true,
      messages: [ask('One?'), answer('a', undefined, { rating: 4, propensity: 0.5 }), ask('Two?'), answer('b')],
    };
    expect(interactionsOf([transcript])).toEqual([
      { conversation: [ask('One?')], expert: 'a', user: 'u', retry: false, rating: 4, length: 2, propensity: 0.5 },
      { conversation: [ask('One?'), { role: 'assistant', content: 'by a' }, ask('Two?')], expert: 'b', user: 'u', retry: false, length: 0 },
    ]);
  });

  it('several answers to one message: all but the last were retried, and none is in the conversation of another', () => {
    const messages = [ask('One?'), answer('a'), answer('b', undefined, { rating: 2 }), answer('c'), ask('Two?'), answer('d')];
    const found = interactionsOf([{ messages, ended: true }]);
    expect(found.map(({ expert, retry, rating, length }) => [expert, retry, rating, length])).toEqual([
      ['a', true, undefined, 0],
      ['b', true, 2, 0],
      ['c', false, undefined, 2],
      ['d', false, undefined, 0],
    ]);
    for (const { conversation } of found.slice(0, 3)) expect(conversation).toEqual([ask('One?')]);
    expect(found[3]?.conversation.map(({ content }) => content)).toEqual(['One?', 'by c', 'Two?']);
  });

  it('a length counts a message with several answers once', () => {
    const messages = [ask('One?'), answer('a'), ask('Two?'), answer('b'), answer('c')];
    expect(interactionsOf([{ messages, ended: true }])[0]?.length).toBe(2);
  });

  it('what may still happen is left out, and what happened early, too', () => {
    const young: Transcript = { messages: [ask('One?', 95), answer('a', 96, { rating: 5 }), ask('Two?', 97), answer('b', 98)] };
    const found = interactionsOf([young], { takenAt: at(100), horizon: 24 });
    expect(found).toEqual([{ conversation: [{ role: 'user', content: 'One?' }], expert: 'a', rating: 5, at: at(96) }]);
    const later = interactionsOf([young], { takenAt: at(121), horizon: 24 });
    expect(later.map(({ retry, length }) => [retry, length])).toEqual([[false, 2]]);
    expect(interactionsOf([{ ...young, ended: true }], { takenAt: at(100) }).map(({ length }) => length)).toEqual([2, 0]);
    // A quick retry of a young answer would count, a late one not yet.
    const retried: Transcript = { messages: [ask('One?', 98), answer('a', 99), answer('b', 100)] };
    expect(interactionsOf([retried], { takenAt: at(100) })).toEqual([]);
    expect(interactionsOf([retried], { takenAt: at(123) }).map(({ expert, retry }) => [expert, retry])).toEqual([['a', true]]);
    // Nothing says when, or that it is over: only what is told counts.
    expect(interactionsOf([{ messages: [ask('One?'), answer('a'), ask('Two?'), answer('b', undefined, { retry: true })] }])).toHaveLength(
      1,
    );
  });

  it('old and new conversations are measured over the same time', () => {
    const messages = [ask('One?', 0), answer('a', 1), ask('Two?', 2), answer('b', 3), ask('Much later', 500), answer('c', 501)];
    const [first] = interactionsOf([{ messages }], { takenAt: at(1000), horizon: 24 });
    expect(first?.length).toBe(2);
  });

  it('a metric of one\u2019s own', () => {
    const messages = [ask('One?'), answer('a'), ask('Thanks!'), answer('b')];
    const thanked = interactionsOf([{ messages, ended: true }], { score: ({ after }) => Number(/thanks/i.test(after[0]?.content ?? '')) });
    expect(thanked.map(({ score }) => score)).toEqual([1, 0]);
    expect(() => interactionsOf([{ messages, ended: true }], { score: () => 2 })).toThrow(/from 0 to 1/);
  });

  it.each([
    [{ messages: [] }, /no message/],
    [{ messages: [answer('a')] }, /answers nothing/],
    [{ messages: [ask('x'), answer('a', 1, { rating: 6 })] }, /rating/],
    [{ messages: [ask('x'), answer('a', 1, { rating: Number.NaN })] }, /rating/],
    [{ messages: [ask('x', 2), answer('a', 1)] }, /older/],
    [{ messages: [{ ...ask('x'), rating: 3 }] }, /belong to/],
    [{ messages: [{ ...ask('x'), at: 'soon' }] }, /ISO 8601/],
    [{ messages: [ask('x')], ended: 'yes' }, /ended/],
  ])('refuses %j', (transcript, message) => {
    expect(() => interactionsOf([transcript as Transcript])).toThrow(
      expect.objectContaining({ code: 'BAD_DATA', message: expect.stringMatching(message) }),
    );
    expect(() => interactionsOf([], { horizon: 0 })).toThrow(/horizon/);
  });
});
