import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, fromNative, PointsmanError } from '../src/errors.js';
import { native } from '../src/native.js';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const unquoted = (literal: string) => JSON.parse(literal) as string;

/** Codes and meanings of errors.def, in its order. */
const definitions = [...read('native/include/pointsman/errors.def').matchAll(/^POINTSMAN_ERROR\((\w+), ("(?:[^"\\]|\\.)*")\)$/gm)].map(
  ([, code = '', meaning = '""']) => [code, unquoted(meaning)] as const,
);

describe('the error table', () => {
  it('begins with the native codes, in the same words and order', () => {
    expect(definitions.length).toBeGreaterThan(10);
    expect(Object.entries(ERROR_CODES).slice(0, definitions.length)).toEqual(definitions);
  });

  it('is what the addon was built with', () => {
    expect(Object.entries(native().errorTable)).toEqual(definitions);
  });

  it('is what docs/errors.md says', () => {
    const rows = [...read('docs/errors.md').matchAll(/^\| `(\w+)` \| (.*) \| (addon, TypeScript|TypeScript) \|$/gm)];
    expect(rows.map(([, code, meaning]) => [code, meaning])).toEqual(Object.entries(ERROR_CODES));
    const ofAddon = rows.filter(([, , , side]) => side !== 'TypeScript').map(([, code]) => code);
    expect(ofAddon).toEqual(definitions.map(([code]) => code));
  });
});

describe('fromNative', () => {
  it('keeps code, message and cause', () => {
    const raw = Object.assign(new Error('k is 0'), { code: 'BAD_K' });
    const error = fromNative(raw);
    expect(error).toBeInstanceOf(PointsmanError);
    expect(error).toMatchObject({ code: 'BAD_K', message: 'k is 0', cause: raw, name: 'PointsmanError' });
  });

  it('leaves alone what is not of the table', () => {
    for (const other of [Object.assign(new Error('x'), { code: 'ENOENT' }), new Error('y'), 'text', undefined]) {
      expect(fromNative(other)).toBe(other);
    }
  });
});
