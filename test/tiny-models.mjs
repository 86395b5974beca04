// Language models small enough to be made while a test runs: the ONNX file of a transformer encoder with random weights,
// written as protobuf, and tokenizer.json files of the three kinds, trained on a few sentences. The benchmark uses them too.

/** A small generator of numbers (mulberry32): the models are the same on every machine. */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// ---- protobuf: https://protobuf.dev/programming-guides/encoding, onnx.proto3 for the numbers of fields ----
function varint(value) {
  let left = BigInt.asUintN(64, BigInt(value));
  const bytes = [];
  do {
    bytes.push(Number(left & 127n) | (left > 127n ? 128 : 0));
    left >>= 7n;
  } while (left > 0n);
  return Buffer.from(bytes);
}
const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => {
  const content = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
};
const float = (field, value) => {
  const out = Buffer.alloc(4);
  out.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), out]);
};
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));

const FLOAT = 1;
const INT64 = 7;

function tensor(name, dims, data) {
  const type = data instanceof Float32Array ? FLOAT : INT64;
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return message(5, ...dims.map((dim) => integer(1, dim)), integer(2, type), bytes(8, name), bytes(9, raw));
}

function attribute(name, value) {
  if (Array.isArray(value)) return message(5, bytes(1, name), ...value.map((each) => integer(8, each)), integer(20, 7));
  return Number.isInteger(value)
    ? message(5, bytes(1, name), integer(3, value), integer(20, 2))
    : message(5, bytes(1, name), float(2, value), integer(20, 1));
}

function valueInfo(field, name, type, dims) {
  const shape = message(2, ...dims.map((dim) => message(1, typeof dim === 'number' ? integer(1, dim) : bytes(2, dim))));
  return message(field, bytes(1, name), message(2, message(1, integer(1, type), shape)));
}

/**
 * The bytes of an .onnx file: a BERT-like encoder (post-norm, learned positions, padding masked in its attention) with
 * inputs input_ids, attention_mask and token_type_ids, and the output last_hidden_state.
 */
export function transformer({
  vocabulary,
  hidden = 32,
  heads = 4,
  layers = 2,
  inner = 4 * hidden,
  positions = 128,
  seed = 1,
  broken = false,
}) {
  const random = generator(seed);
  const nodes = [];
  const tensors = [];
  const node = (type, inputs, attributes = {}) => {
    const output = `${type}_${nodes.length}`;
    const parts = Object.entries(attributes).map(([name, value]) => attribute(name, value));
    nodes.push(message(1, ...inputs.map((input) => bytes(1, input)), bytes(2, output), bytes(4, type), ...parts));
    return output;
  };
  const weights = (name, ...dims) => {
    const scale = 2 / Math.sqrt(dims[0]);
    const data = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => scale * (random() - 0.5));
    tensors.push(tensor(name, dims, data));
    return name;
  };
  const constant = (name, dims, data) => {
    tensors.push(tensor(name, dims, data));
    return name;
  };
  const embedding = (name, rows) => {
    const data = Float32Array.from({ length: rows * hidden }, () => 2 * random() - 1);
    return constant(name, [rows, hidden], data);
  };
  const ones = constant('ones', [hidden], new Float32Array(hidden).fill(1));
  const zeros = constant('zeros', [hidden], new Float32Array(hidden));
  const norm = (x) => node('LayerNormalization', [x, ones, zeros], { axis: -1, epsilon: 1e-5 });
  const linear = (x, name, from, to) =>
    node('Add', [node('MatMul', [x, weights(`${name}.weight`, from, to)]), weights(`${name}.bias`, to)]);

  const one = constant('one', [], Float32Array.of(1));
  const far = constant('far', [], Float32Array.of(-1e9));
  const axes = constant('axes', [2], BigInt64Array.of(1n, 2n));
  const [zeroth, first] = [constant('zeroth', [], BigInt64Array.of(0n)), constant('first', [], BigInt64Array.of(1n))];
  const split = constant('split', [4], BigInt64Array.from([0, 0, heads, hidden / heads], BigInt));
  const joined = constant('joined', [3], BigInt64Array.from([0, 0, hidden], BigInt));
  const scale = constant('scale', [], Float32Array.of(broken ? Number.NaN : 1 / Math.sqrt(hidden / heads)));

  const length = node('Gather', [node('Shape', ['input_ids']), first], { axis: 0 });
  const position = node('Gather', [embedding('positions', positions), node('Range', [zeroth, length, first])]);
  const words = node('Gather', [embedding('words', vocabulary), 'input_ids']);
  const types = node('Gather', [embedding('types', 2), 'token_type_ids']);
  let x = norm(node('Add', [node('Add', [words, types]), position]));
  const padding = node('Mul', [node('Sub', [one, node('Cast', ['attention_mask'], { to: FLOAT })]), far]);
  const mask = node('Unsqueeze', [padding, axes]);
  for (let l = 0; l < layers; l++) {
    const part = (name, perm) => node('Transpose', [node('Reshape', [linear(x, `${l}.${name}`, hidden, hidden), split])], { perm });
    const scores = node('Mul', [node('MatMul', [part('query', [0, 2, 1, 3]), part('key', [0, 2, 3, 1])]), scale]);
    const attention = node('Softmax', [node('Add', [scores, mask])], { axis: -1 });
    const mixed = node('Transpose', [node('MatMul', [attention, part('value', [0, 2, 1, 3])])], { perm: [0, 2, 1, 3] });
    x = norm(node('Add', [x, linear(node('Reshape', [mixed, joined]), `${l}.output`, hidden, hidden)]));
    const wide = linear(x, `${l}.inner`, hidden, inner);
    x = norm(node('Add', [x, linear(node('Relu', [wide]), `${l}.outer`, inner, hidden)]));
  }
  nodes.push(message(1, bytes(1, x), bytes(2, 'last_hidden_state'), bytes(4, 'Identity')));
  const inputs = ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => valueInfo(11, name, INT64, ['batch', 'tokens']));
  const graph = message(
    7,
    ...nodes,
    bytes(2, 'tiny'),
    ...tensors,
    ...inputs,
    valueInfo(12, 'last_hidden_state', FLOAT, ['batch', 'tokens', hidden]),
  );
  return Buffer.concat([integer(1, 8), bytes(2, 'pointsman tests'), graph, message(8, bytes(1, ''), integer(2, 17))]);
}

// ---- tokenizers ----
const SENTENCES =
  'the rain falls on the green hills and the river runs to the sea. write a poem about rain, please! ' +
  'how does a compiler turn source code into machine code? fix the function that returns the wrong value. ' +
  'what is the capital of norway and how many people are living there? explain why the sky is blue. ' +
  'user assistant system: the answer is here, the question was there; it is not the end, is it?';

const WORDS = SENTENCES.match(/[a-z]+/g);

function counted(items) {
  const counts = new Map();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

const special = (names) =>
  names.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }));

function template(before, after, ids) {
  const token = (id) => ({ SpecialToken: { id, type_id: 0 } });
  const around = (...sequences) => [
    ...before.map(token),
    ...sequences.map((id) => ({ Sequence: { id, type_id: 0 } })),
    ...after.map(token),
  ];
  const special_tokens = Object.fromEntries([...before, ...after].map((id) => [id, { id, ids: [ids[id]], tokens: [id] }]));
  return { type: 'TemplateProcessing', single: around('A'), pair: around('A', 'B'), special_tokens };
}

const file = (names, rest) => ({ version: '1.0', truncation: null, padding: null, added_tokens: special(names), ...rest });

/** As BERT has it. */
export function wordPiece() {
  const names = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const characters = [...'abcdefghijklmnopqrstuvwxyz0123456789.,:;!?-\'"'];
  const pieces = [...characters, ...characters.map((c) => `##${c}`), ...new Set(WORDS), '##ing', '##ed', '##s', '##er', '##ion'];
  const vocab = Object.fromEntries([...names, ...new Set(pieces)].map((piece, id) => [piece, id]));
  return file(names, {
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: template(['[CLS]'], ['[SEP]'], vocab),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: { type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100, vocab },
  });
}

/** Byte-level, as GPT-2, RoBERTa and Qwen have it: its merges are the most frequent pairs of the sentences. */
export function bytePair() {
  const names = ['<|pad|>', '<|end|>'];
  const printable = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  const letters = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
  const parts = (word) => [...Buffer.from(word)].map((b) => letters[b]);
  let words = [...counted(SENTENCES.match(/ ?[a-z]+|[^a-z\s]/g))].map(([word, count]) => ({ symbols: parts(word), count }));
  const merges = [];
  while (merges.length < 150) {
    const pairs = new Map();
    for (const { symbols, count } of words) {
      for (let i = 1; i < symbols.length; i++) {
        const pair = `${symbols[i - 1]} ${symbols[i]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    }
    const [best, count] = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0] ?? ['', 0];
    if (count < 2) break;
    merges.push(best);
    const [left, right] = best.split(' ');
    words = words.map(({ symbols, count: times }) => {
      const merged = [];
      for (let i = 0; i < symbols.length; i++) {
        if (symbols[i] === left && symbols[i + 1] === right) merged.push(left + symbols[++i]);
        else merged.push(symbols[i]);
      }
      return { symbols: merged, count: times };
    });
  }
  const vocab = Object.fromEntries([...names, ...letters, ...merges.map((pair) => pair.replace(' ', ''))].map((piece, id) => [piece, id]));
  return file(names, {
    normalizer: { type: 'NFC' },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: template([], ['<|end|>'], vocab),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      vocab,
      merges,
    },
  });
}

/** As XLM-RoBERTa and T5 have it: pieces with the logarithms of their probabilities. */
export function unigram() {
  const names = ['<s>', '<pad>', '</s>', '<unk>'];
  const pieces = counted([
    ...SENTENCES.replace(/ /g, '▁'),
    ...WORDS.map((word) => `▁${word}`),
    ...WORDS.flatMap((word) => word.match(/.{1,3}/g)),
    '▁',
  ]);
  const total = [...pieces.values()].reduce((sum, count) => sum + count, 0);
  const vocab = [...names.map((name) => [name, 0]), ...[...pieces].map(([piece, count]) => [piece, Math.log(count / total)])];
  const ids = Object.fromEntries(vocab.map(([piece], id) => [piece, id]));
  return file(names, {
    normalizer: { type: 'NFKC' },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: template(['<s>'], ['</s>'], ids),
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: { type: 'Unigram', unk_id: 3, vocab, byte_fallback: false },
  });
}

/** How many ids a tokenizer.json may give. */
export function vocabularySize({ model: { vocab } }) {
  return Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
}
