/**
 * Score tables as CSV (RFC 4180): a header `expert,<dimension>,…`, then one row an expert; an empty cell is missing. A field
 * that holds a comma, a quotation mark or a line break stands in quotation marks, in which a mark is doubled.
 */
import { readFile } from 'node:fs/promises';
import { checkOptions, PointsmanError, plural, someOf } from '../errors.js';
import type { ScoreTable, TaskOptions } from '../types.js';
import { writeDurably } from './durable.js';
import { checkPath } from './folder.js';
import { fileError } from './interactions.js';

/** @throws PointsmanError BAD_DATA with file and line, BAD_ARGUMENT, FILE_MISSING, FILE_IO, ABORTED */
export async function readScoreTable(path: string, options: TaskOptions = {}): Promise<ScoreTable> {
  const { signal } = checkOptions(options, undefined, 'readScoreTable');
  checkPath(path, 'path');
  const content = await readFile(path, { encoding: 'utf8', ...(signal && { signal }) }).catch((error: unknown) => {
    if (signal?.aborted) throw new PointsmanError('ABORTED', `reading ${path} was aborted`, { cause: error });
    throw fileError(error, path);
  });
  const bad = (line: number, what: string) => new PointsmanError('BAD_DATA', `${path}, line ${line}: ${what}`);
  const [header, ...rows] = csvRows(content.replace(/^\uFEFF/, ''), bad);
  if (header?.fields[0] !== 'expert') throw bad(1, "the header must begin with 'expert'");
  const dimensions = header.fields.slice(1);
  if (dimensions.length === 0) throw bad(header.line, 'no dimension is named after expert');
  const twice = dimensions.find((name, d) => name === '' || dimensions.indexOf(name) < d);
  if (twice !== undefined)
    throw bad(header.line, twice === '' ? 'a dimension has no name' : `the dimension ${someOf([twice])} is there twice`);
  const experts = new Set<string>();
  const scores: number[] = [];
  for (const { fields, line } of rows) {
    const [expert = '', ...cells] = fields;
    if (expert === '') throw bad(line, 'the expert has no name');
    if (experts.has(expert)) throw bad(line, `the expert ${someOf([expert])} is there twice`);
    if (cells.length !== dimensions.length)
      throw bad(line, `${plural(cells.length, 'score')}, but there are ${dimensions.length} dimensions`);
    experts.add(expert);
    for (const [d, cell] of cells.entries()) {
      const score = cell.trim() === '' ? Number.NaN : Math.fround(Number(cell));
      if (cell.trim() !== '' && !Number.isFinite(score)) throw bad(line, `'${cell}', the score in ${dimensions[d]}, is no finite number`);
      scores.push(score);
    }
  }
  return { dimensions, experts: [...experts], scores: Float32Array.from(scores) };
}

/** Replaces the file whole, or leaves the earlier one as it was. @throws PointsmanError BAD_ARGUMENT, WRONG_SHAPE, NOT_FINITE, DUPLICATE_ID, FILE_IO */
export async function writeScoreTable(path: string, table: ScoreTable): Promise<void> {
  checkPath(path, 'path');
  checkScoreTable(table);
  const width = table.dimensions.length;
  const rows = table.experts.map((expert, e) => [expert, ...Array.from(table.scores.subarray(e * width, (e + 1) * width), decimal)]);
  const content = [['expert', ...table.dimensions], ...rows].map((fields) => `${fields.map(quoted).join(',')}\n`).join('');
  await writeDurably(path, Buffer.from(content)).catch((error: unknown) => {
    throw new PointsmanError('FILE_IO', `${path} could not be written: ${(error as Error).message}`, { cause: error });
  });
}

/** The shortest decimal that is read back as the same float32; '' for NaN. */
function decimal(score: number): string {
  if (Number.isNaN(score)) return '';
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(score.toPrecision(digits));
    if (Math.fround(short) === score) return String(short);
  }
  return String(score);
}

/** A table made by a program. @throws PointsmanError BAD_ARGUMENT, WRONG_SHAPE, NOT_FINITE, DUPLICATE_ID */
export function checkScoreTable(table: ScoreTable): void {
  const isNames = (list: unknown) => Array.isArray(list) && list.every((name) => typeof name === 'string' && name !== '');
  if (table === null || typeof table !== 'object' || !isNames(table.dimensions) || !isNames(table.experts)) {
    throw new PointsmanError('BAD_ARGUMENT', 'a score table needs dimensions and experts, both lists of names, and scores');
  }
  const { dimensions, experts, scores } = table;
  if (dimensions.length === 0) throw new PointsmanError('BAD_ARGUMENT', 'the score table has no dimension');
  for (const [list, what] of [
    [dimensions, 'dimension'],
    [experts, 'expert'],
  ] as const) {
    const seen = new Set<string>();
    for (const name of list) {
      if (seen.has(name)) throw new PointsmanError('DUPLICATE_ID', `the score table names the ${what} ${someOf([name])} twice`);
      seen.add(name);
    }
  }
  if (!(scores instanceof Float32Array) || scores.length !== experts.length * dimensions.length) {
    throw new PointsmanError(
      'WRONG_SHAPE',
      `the scores must be a Float32Array of ${experts.length} experts × ${dimensions.length} dimensions`,
    );
  }
  if (scores.some((score) => Math.abs(score) === Number.POSITIVE_INFINITY)) {
    throw new PointsmanError('NOT_FINITE', 'a score is infinite; NaN stands for a missing one');
  }
}

function quoted(field: string): string {
  return /[",\r\n]|^\s|\s$/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

/** Rows with the line that each begins in; empty lines are passed over. */
function csvRows(content: string, bad: (line: number, what: string) => PointsmanError): { fields: string[]; line: number }[] {
  const rows: { fields: string[]; line: number }[] = [];
  let line = 1;
  let at = 0;
  while (at < content.length) {
    const begin = line;
    const fields: string[] = [];
    for (;;) {
      let field = '';
      if (content[at] === '"') {
        const opened = line;
        for (at++; ; at++) {
          if (at >= content.length) throw bad(opened, 'a quotation mark is not closed');
          if (content[at] === '"') {
            if (content[at + 1] !== '"') break;
            at++;
          }
          if (content[at] === '\n') line++;
          field += content[at];
        }
        at++;
        if (at < content.length && !/[,\r\n]/.test(content[at] as string)) throw bad(line, 'a field goes on after its quotation marks');
      } else {
        const end = at + content.slice(at).search(/[,\r\n]|$/);
        field = content.slice(at, end);
        if (field.includes('"'))
          throw bad(line, `'${field}' has a quotation mark, so it must stand in quotation marks, with the mark doubled`);
        at = end;
      }
      fields.push(field);
      if (content[at] !== ',') break;
      at++;
    }
    if (content.startsWith('\r\n', at)) at++;
    at++;
    line++;
    if (fields.length > 1 || fields[0] !== '') rows.push({ fields, line: begin });
  }
  return rows;
}
