/**
 * A model's tokenizer.json, with truncation from the oldest: the last tokens of a text between the special tokens that
 * the model was trained with. The end of a text is tokenised first, and more of it only where that gave too few tokens,
 * so that a conversation of any length costs what is read of it.
 */
import { readFile } from 'node:fs/promises';
import { PointsmanError } from '../errors.js';
import { optionalPackage } from './packages.js';

/** What is used of `@huggingface/tokenizers`. */
interface HuggingFaceTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
}
interface TokenizersPackage {
  Tokenizer: new (tokenizer: object, config: object) => HuggingFaceTokenizer;
}

/** Characters that are tokenised at first for each token that is wanted; English has four to five. */
const CHARACTERS_PER_TOKEN = 8;
/** What a tokenizer makes fewer tokens of than that, such as a long run of one character, is cut there: reading on would cost without end. */
const MOST_CHARACTERS_PER_TOKEN = 64;
/** A first token of the part may be half of a word: so many are dropped where the text began earlier. */
const RAGGED = 2;

export class TextTokenizer {
  readonly #tokenizer: HuggingFaceTokenizer;
  readonly #before: readonly number[];
  readonly #after: readonly number[];

  private constructor(tokenizer: HuggingFaceTokenizer) {
    this.#tokenizer = tokenizer;
    const plain = this.#ids('a');
    const whole = tokenizer.encode('a', { add_special_tokens: true }).ids;
    const at = whole.findIndex((_, i) => plain.every((id, j) => whole[i + j] === id));
    if (plain.length === 0 || at < 0) throw new Error('it gives the letter a no token of its own');
    this.#before = whole.slice(0, at);
    this.#after = whole.slice(at + plain.length);
  }

  /** @throws PointsmanError PACKAGE_MISSING, FILE_MISSING, FILE_IO, FILE_CORRUPT */
  static async open(path: string): Promise<{ tokenizer: TextTokenizer; content: string }> {
    const { Tokenizer } = await optionalPackage<TokenizersPackage>('@huggingface/tokenizers');
    const content = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      throw new PointsmanError(
        missing ? 'FILE_MISSING' : 'FILE_IO',
        `${path} ${missing ? 'does not exist' : `could not be read: ${cause.message}`}`,
        { cause },
      );
    });
    try {
      // The second file that some models have, tokenizer_config.json, says nothing that an encoder needs.
      return { tokenizer: new TextTokenizer(new Tokenizer(JSON.parse(content), {})), content };
    } catch (cause) {
      throw new PointsmanError('FILE_CORRUPT', `${path} is no tokenizer.json that can be used: ${(cause as Error).message}`, { cause });
    }
  }

  /** How many tokens the special ones take. */
  get special(): number {
    return this.#before.length + this.#after.length;
  }

  /**
   * At most `limit` ids. What is too long loses its oldest tokens; `prefix` is never lost.
   * @param textUpTo the newest part of the text, of so many characters at most
   */
  encode(prefix: string, textUpTo: (characters: number) => string, limit: number): Int32Array {
    const room = limit - this.special;
    const most = MOST_CHARACTERS_PER_TOKEN * room;
    for (let characters = CHARACTERS_PER_TOKEN * room; ; characters = Math.min(most, 4 * characters)) {
      const text = textUpTo(characters);
      const whole = text.length < characters;
      const ids = this.#ids(whole ? prefix + text : text);
      if (whole && ids.length <= room) return this.#framed(ids);
      // Enough tokens, none of which a cut through the text could have changed.
      if (!whole && ids.length < room + RAGGED && characters < most) continue;
      const first = prefix === '' ? [] : this.#ids(prefix);
      return this.#framed([...first, ...ids.slice(ids.length - Math.max(0, room - first.length))].slice(0, room));
    }
  }

  #ids(text: string): number[] {
    try {
      return this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
    } catch (error) {
      throw new PointsmanError('BAD_ARGUMENT', `the tokenizer failed on a text of ${text.length} characters: ${(error as Error).message}`);
    }
  }

  #framed(ids: readonly number[]): Int32Array {
    return Int32Array.from([...this.#before, ...ids, ...this.#after]);
  }
}
