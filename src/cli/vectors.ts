/**
 * Files of vectors, read in portions of rows so that they may be larger than memory allows at once.
 *
 * .npy:  NumPy's format 1–3 (numpy/lib/format.py): magic, version, header length, a Python dict, then the array; here
 *        float32 or float64, little-endian, C order, one or two dimensions.
 * .fbin: two little-endian int32, rows and dimensions, then float32 rows (the format of the big-ann-benchmarks).
 */
import { type FileHandle, open } from 'node:fs/promises';
import { PointsmanError } from '../errors.js';
import { fileError } from './command.js';

export interface VectorFile {
  rows: number;
  dimensions: number;
  /** Rows start … start + count, row-major. @throws PointsmanError NOT_FINITE, BAD_DATA */
  read(start: number, count: number): Promise<Float32Array>;
  close(): Promise<void>;
}

interface Layout {
  rows: number;
  dimensions: number;
  /** Bytes before the first row, and of each component. */
  offset: number;
  width: 4 | 8;
}

/** @throws PointsmanError FILE_MISSING, FILE_IO, BAD_DATA */
export async function openVectors(path: string): Promise<VectorFile> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw fileError(path, cause);
  });
  try {
    const head = await bytes(file, path, 0, 12, 8);
    const layout = head.toString('latin1', 0, 6) === '\x93NUMPY' ? await npy(file, path, head) : fbin(head, path);
    const { rows, dimensions, offset, width } = layout;
    const { size } = await file.stat();
    if (size !== offset + rows * dimensions * width) {
      throw new PointsmanError(
        'BAD_DATA',
        `${path}: ${rows} × ${dimensions} numbers need ${offset + rows * dimensions * width} bytes, the file has ${size}`,
      );
    }
    return {
      rows,
      dimensions,
      read: async (start, count) => {
        const length = count * dimensions * width;
        const raw = await bytes(file, path, offset + start * dimensions * width, length, length);
        const buffer = raw.buffer.slice(raw.byteOffset, raw.byteOffset + length); // aligned
        const numbers = width === 4 ? new Float32Array(buffer) : Float32Array.from(new Float64Array(buffer));
        const bad = numbers.findIndex((number) => !Number.isFinite(number));
        if (bad !== -1) {
          const row = start + Math.floor(bad / dimensions);
          throw new PointsmanError('NOT_FINITE', `${path}: row ${row} (from 0) contains NaN, infinity or what float32 cannot hold`);
        }
        return numbers;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function bytes(file: FileHandle, path: string, position: number, length: number, atLeast: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  if (filled < atLeast) throw new PointsmanError('BAD_DATA', `${path} is too short to be a file of vectors`);
  return buffer;
}

async function npy(file: FileHandle, path: string, head: Buffer): Promise<Layout> {
  const wide = (head[6] as number) >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? head.readUInt32LE(8) : head.readUInt16LE(8);
  if (length > 65_536) throw new PointsmanError('BAD_DATA', `${path}: the .npy header claims ${length} bytes`);
  const header = (await bytes(file, path, start, length, length)).toString('utf8');
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/
    .exec(header)?.[1]
    ?.split(',')
    .map((part) => part.trim())
    .filter(Boolean)
    .map(Number);
  if (type !== '<f4' && type !== '<f8')
    throw new PointsmanError('BAD_DATA', `${path}: the array must be float32 or float64, not ${type ?? 'structured'}`);
  if (/'fortran_order':\s*True/.test(header))
    throw new PointsmanError('BAD_DATA', `${path}: the array must be in C order (numpy.ascontiguousarray)`);
  if (!shape || shape.length < 1 || shape.length > 2 || !shape.every(Number.isSafeInteger)) {
    throw new PointsmanError('BAD_DATA', `${path}: the array must have one or two dimensions`);
  }
  const [rows, dimensions] = shape.length === 2 ? (shape as [number, number]) : [1, shape[0] as number];
  return { rows, dimensions, offset: start + length, width: type === '<f4' ? 4 : 8 };
}

function fbin(head: Buffer, path: string): Layout {
  if (!path.endsWith('.fbin')) throw new PointsmanError('BAD_DATA', `${path} is neither .npy nor named .fbin`);
  const [rows, dimensions] = [head.readInt32LE(0), head.readInt32LE(4)];
  if (rows < 0 || dimensions < 1) throw new PointsmanError('BAD_DATA', `${path}: impossible shape ${rows} × ${dimensions}`);
  return { rows, dimensions, offset: 8, width: 4 };
}
