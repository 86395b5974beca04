/**
 * One table of error codes. The upper part mirrors `native/include/pointsman/errors.def` (a test holds the two
 * together); `docs/errors.md` is generated from the whole. A code, once released, keeps its meaning.
 */
export const ERROR_CODES = {
  // native
  ABORTED: 'the caller aborted the operation',
  BACKEND_UNAVAILABLE: 'the backend that was asked for cannot run here',
  BAD_ARGUMENT: 'an argument has the wrong type or an impossible value',
  BAD_DIMENSIONS: 'dimensions must be an integer from 1 to 4096',
  BAD_K: 'k must be an integer from 1 to 4096',
  CLOSED: 'the index was closed',
  DETACHED_BUFFER: "the array's buffer was transferred away",
  DUPLICATE_ID: 'one call names the same id twice',
  FILE_CORRUPT: 'the file is truncated or was altered',
  FILE_IO: 'the file could not be read or written',
  FILE_VERSION: 'the file is of another format or version',
  INDEX_FULL: 'no handles are left: an index gives out 2^32 - 1 in its life',
  INTERNAL: 'a fault in pointsman itself',
  NORM_TOO_LARGE: "a vector's squared norm exceeds 2^126",
  NOT_FINITE: 'an array contains NaN or infinity',
  OUT_OF_MEMORY: 'memory ran out; nothing was changed',
  UNKNOWN_HANDLE: 'no expert has this handle',
  UNKNOWN_ISA: 'POINTSMAN_ISA names an instruction set that this processor or build lacks',
  WRONG_SHAPE: "an array's length does not fit the other arguments",
  // TypeScript
  ADDON_NOT_FOUND: 'the native addon could not be loaded; the message names the command that builds it',
  BAD_DATA: 'a line or cell of the input data is malformed; the message names file and line',
  BAD_OBJECTIVE: 'the objective names an unknown metric, has no finite weight, or is all zero',
  BAD_CONVERSATION: 'a conversation is not a list of { role, content } messages',
  BAD_RESPONSE: 'an endpoint answered with something malformed: no JSON, or not what was asked for',
  ENDPOINT_FAILED: 'an endpoint could not be reached, did not answer in time, or refused the request',
  FILE_MISSING: 'a file or folder does not exist',
  NO_BELIEFS: 'the model does not know how sure it is of its experts: it was learned without beliefs',
  NO_CANDIDATES: 'no expert is eligible for this conversation',
  NOT_ENOUGH_DATA: 'there are too few outcomes to learn from',
  PACKAGE_MISSING: 'an optional package is not installed; the message says which and how to install it',
  UNKNOWN_EXPERT: 'no expert has this id',
  USAGE: 'the command line has an unknown option or lacks an argument',
  WRONG_ENCODER: 'the encoder is not the one that the model was learned with, or is missing',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Every error that pointsman throws: `message` is for people, `code` for programs. */
export class PointsmanError extends Error {
  override readonly name = 'PointsmanError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Refuses options that are no object, and names that nobody would read: a slip of the pen must not be passed over. */
export function checkOptions<T>(options: T, known: readonly string[] | undefined, what: string): T {
  if (options === null || typeof options !== 'object') {
    throw new PointsmanError('BAD_ARGUMENT', `the options of ${what} must be an object, not ${String(options)}`);
  }
  const unknown = known && Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new PointsmanError('BAD_ARGUMENT', `${what} has no option '${unknown}'; it has ${known?.join(', ')}`);
  }
  return options;
}

/** `1 expert`, `2 experts`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Up to five of the names, and how many more. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, 5).map((name) => `'${name}'`);
  return `${shown.join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
}

/** A native error (it carries `code`) as a PointsmanError; anything else unchanged. */
export function fromNative(error: unknown): unknown {
  if (error instanceof Error && !(error instanceof PointsmanError) && 'code' in error) {
    const { code } = error as { code: unknown };
    if (typeof code === 'string' && code in ERROR_CODES) {
      return new PointsmanError(code as ErrorCode, error.message, { cause: error });
    }
  }
  return error;
}
