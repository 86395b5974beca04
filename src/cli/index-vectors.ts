/** `pointsman index`: an index of one's own vectors: built, looked at, searched. */
import { stat } from 'node:fs/promises';
import { ExpertIndex } from '../engine/index.js';
import { PointsmanError, plural, someOf } from '../errors.js';
import { checkFile } from '../learn/index.js';
import {
  type Command,
  type Context,
  fileError,
  idList,
  integer,
  lines,
  type Outcome,
  oneOf,
  readText,
  required,
  resultCount,
  text,
  usage,
  type Values,
} from './command.js';
import { openVectors } from './vectors.js';

/** Bytes of vectors that are read and inserted at a time. */
const PORTION = 64 * 2 ** 20;

export const indexVectors: Command = {
  name: 'index',
  summary: 'builds, inspects or searches an index of vectors of your own',
  usage: 'build|inspect|search [options]',
  details:
    'build    makes an index file from --vectors and --ids\n' +
    'inspect  says what an index file (--index) holds\n' +
    'search   finds the k best rows of --index for each vector of --queries, exactly\n\n' +
    'Vectors are .npy (float32 or float64) or .fbin files.',
  example: 'pointsman index build --vectors experts.npy --ids experts.txt --out experts.index',
  options: {
    vectors: { type: 'string', value: 'FILE', help: 'build: the vectors, one a row' },
    ids: { type: 'string', value: 'FILE', help: 'build: their ids, one a line (default: row numbers from 0)' },
    out: { type: 'string', value: 'FILE', help: 'build: the index file to write' },
    index: { type: 'string', value: 'FILE', help: 'inspect, search: the index file' },
    queries: { type: 'string', value: 'FILE', help: 'search: the queries, one a row' },
    k: { type: 'string', short: 'k', value: 'N', help: 'search: how many for each query (default 10)' },
    eligible: { type: 'string', multiple: true, value: 'IDS', help: 'search: among these ids only: a,b or @file with an id a line' },
    'ignore-unknown': { type: 'boolean', help: 'search: pass over ids of --eligible that the index does not have' },
    threads: { type: 'string', value: 'N', help: 'share of the thread pool (default: all)' },
    backend: { type: 'string', value: 'NAME', help: 'auto, cpu or cuda (default auto)' },
  },
  async run(values, [action, ...rest], context) {
    if (rest.length > 0) throw usage(`unexpected argument '${rest[0]}'`);
    if (action === 'build') return build(values, context);
    if (action === 'inspect') return inspect(values, context);
    if (action === 'search') return search(values, context);
    throw usage(`say build, inspect or search${action === undefined ? '' : `, not '${action}'`}`);
  },
};

function indexOptions(values: Values) {
  return { threads: integer(values, 'threads', 1), backend: oneOf(values, 'backend', ['auto', 'cpu', 'cuda'] as const) };
}

async function build(values: Values, { signal, onProgress }: Context): Promise<Outcome> {
  const path = required(values, 'vectors');
  const out = required(values, 'out');
  const idFile = text(values, 'ids');
  await checkFile(out);
  const vectors = await openVectors(path);
  try {
    const { rows, dimensions } = vectors;
    const ids = idFile === undefined ? undefined : lines(await readText(idFile));
    if (ids && ids.length !== rows) throw new PointsmanError('BAD_DATA', `${idFile} has ${ids.length} ids, ${path} has ${rows} vectors`);
    if (ids && new Set(ids).size < ids.length) throw new PointsmanError('DUPLICATE_ID', `${idFile} names an id twice`);
    const index = new ExpertIndex({ dimensions, ...indexOptions(values) });
    const portion = Math.max(1, Math.floor(PORTION / (4 * dimensions)));
    for (let start = 0; start < rows; start += portion) {
      onProgress?.({ stage: 'build', done: start, total: rows });
      const count = Math.min(portion, rows - start);
      const names = ids?.slice(start, start + count) ?? Array.from({ length: count }, (_, i) => String(start + i));
      await index.upsert(names, await vectors.read(start, count), { signal }).catch(named(path));
    }
    await index.save(out, { signal, onProgress });
    return { json: { out, size: rows, dimensions }, text: `${out}: ${plural(rows, 'vector')} of ${plural(dimensions, 'dimension')}` };
  } finally {
    await vectors.close();
  }
}

/** Opens --index. @throws PointsmanError FILE_MISSING besides what the engine throws */
async function openIndex(values: Values, { signal, onProgress }: Context): Promise<ExpertIndex> {
  const path = required(values, 'index');
  await stat(path).catch((cause: unknown) => {
    throw fileError(path, cause);
  });
  return ExpertIndex.open(path, { ...indexOptions(values), signal, onProgress });
}

async function inspect(values: Values, context: Context): Promise<Outcome> {
  const index = await openIndex(values, context);
  const stats = index.stats();
  const ids: string[] = [];
  for (const id of index.ids()) if (ids.push(id) === 5) break;
  return {
    json: { ...stats, firstIds: ids },
    text: [
      `size             ${plural(stats.size, 'vector')} of ${plural(stats.dimensions, 'dimension')}, ${stats.bytes} bytes`,
      `first ids        ${ids.join(', ')}`,
      `instruction set  ${stats.isa}: ${stats.isaReason}`,
      `backend          ${stats.backend}: ${stats.backendReason}`,
    ].join('\n'),
  };
}

async function search(values: Values, context: Context): Promise<Outcome> {
  const k = resultCount(values) ?? 10;
  const eligible = await idList(values, 'eligible');
  const path = required(values, 'queries');
  const file = await openVectors(path);
  try {
    const index = await openIndex(values, context);
    if (file.dimensions !== index.dimensions) {
      const widths = `the queries have ${plural(file.dimensions, 'column')}, the index ${plural(index.dimensions, 'dimension')}`;
      throw new PointsmanError('WRONG_SHAPE', `${path}: ${widths}`);
    }
    const unknown = values['ignore-unknown'] ? [] : (eligible ?? []).filter((id) => !index.has(id));
    if (unknown.length > 0) {
      throw new PointsmanError('UNKNOWN_EXPERT', `the index has no ${someOf(unknown)} (--ignore-unknown passes over them)`);
    }
    const filter = eligible && index.filter(eligible);
    const result = await index.search(await file.read(0, file.rows), { k, filter, signal: context.signal }).catch(named(path));
    const found = Array.from({ length: result.count }, (_, i) =>
      result.ids(i).map((id, rank) => ({ id, score: result.scores[i * k + rank] as number })),
    );
    const lists = found.map(
      (hits, i) => `query ${i}\n${hits.map(({ id, score }) => `  ${score.toPrecision(7).padStart(14)}  ${id}`).join('\n')}`,
    );
    return { json: { k, results: found }, text: lists.join('\n') };
  } finally {
    await file.close();
  }
}

/** Says whose numbers they are that the engine refuses. */
function named(path: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof PointsmanError) || error.code !== 'NORM_TOO_LARGE') throw error;
    throw new PointsmanError(error.code, `${path}: ${error.message}`, { cause: error });
  };
}
