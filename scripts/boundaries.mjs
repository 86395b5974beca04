// Holds the source to its dependency direction (docs/architecture.md). Prints each violation and exits with 1.
//
//   node scripts/boundaries.mjs [folder of a project]
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'));
const violations = [];

// ---- TypeScript: which parts of src each part may import; itself always ----
const FOR_ALL = ['types', 'errors', 'native', 'random'];
const TYPESCRIPT = {
  types: ['errors'],
  errors: [],
  native: ['types', 'errors'],
  random: ['errors', 'native'],
  engine: [...FOR_ALL],
  remote: [...FOR_ALL],
  encode: [...FOR_ALL, 'remote'],
  learn: [...FOR_ALL, 'engine', 'encode'],
  judge: [...FOR_ALL, 'remote', 'learn'],
  evaluate: [...FOR_ALL],
  route: [...FOR_ALL],
  store: [...FOR_ALL],
  serve: [...FOR_ALL, 'route', 'store'],
  index: [...FOR_ALL, 'engine', 'encode', 'learn', 'judge', 'evaluate', 'route', 'store', 'serve'],
  cli: [...FOR_ALL, 'engine', 'encode', 'learn', 'judge', 'evaluate', 'route', 'store', 'serve', 'index'],
};

const src = join(root, 'src');
const openers = new Set(); // the files of route that know what learn writes: one is the limit
for (const file of walk(src, ['.ts'])) {
  const part = partOf(file);
  const text = readFileSync(file, 'utf8');
  if (!(part in TYPESCRIPT)) report(file, `the part '${part}' has no rule in scripts/boundaries.mjs`);
  if (part !== 'native' && /node-gyp-build|['"`][^'"`]*\.node['"`]/.test(text)) report(file, 'loads the addon; only src/native.ts may');
  for (const specifier of imports(text)) {
    if (!specifier.startsWith('.')) continue;
    const target = resolve(dirname(file), specifier);
    if (relative(src, target).startsWith('..')) {
      report(file, `imports ${specifier}, which is outside of src`);
      continue;
    }
    const wanted = partOf(target);
    if (wanted === part || TYPESCRIPT[part]?.includes(wanted)) continue;
    if (part === 'route' && wanted === 'learn') openers.add(file);
    else report(file, `imports ${specifier}: ${part} must not know ${wanted}`);
  }
}
if (openers.size > 1) {
  for (const file of openers) report(file, 'imports learn: one file of route opens what learn wrote, not more');
}

// ---- C++: addon -> core, train, text -> include <- cpu, cuda ----
const CPP = {
  include: [],
  core: ['include'],
  train: ['include'],
  text: ['include'],
  cpu: ['include'],
  cuda: ['include'],
  bench: ['include', 'core', 'cuda', 'test'],
  addon: ['include', 'core', 'train', 'text'],
  test: ['include', 'core', 'train', 'text', 'cpu', 'cuda'],
};
const RESERVED = [
  { headers: /^(napi|node_api|js_native_api|node|v8|uv)\.h$/, where: (part) => part === 'addon', place: 'addon/' },
  { headers: /^(cuda(?!\/)|cublas|cub\/|cooperative_groups|thrust\/|nvml|mma\.h)/, where: (part) => part === 'cuda', place: 'cuda/' },
  {
    headers: /^([a-z]mmintrin|immintrin|x86intrin|arm_[a-z]+)\.h$/,
    where: (part, file) => part === 'bench' || (part === 'cpu' && basename(file).startsWith('kernels_')),
    place: 'cpu/kernels_* and bench',
  },
];

const native = join(root, 'native');
for (const file of walk(native, ['.cpp', '.hpp', '.h', '.inc', '.def', '.cu', '.cuh'])) {
  const part = relative(native, file).split(sep)[0];
  if (!(part in CPP)) report(file, `the part '${part}' has no rule in scripts/boundaries.mjs`);
  for (const [, header] of readFileSync(file, 'utf8').matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)) {
    for (const rule of RESERVED) {
      if (rule.headers.test(header) && !rule.where(part, file)) report(file, `includes ${header}, which belongs in ${rule.place} alone`);
    }
    const target = [join(dirname(file), header), join(native, header), join(native, 'include', header)].find((path) => existsSync(path));
    if (!target) continue;
    const wanted = relative(native, target).split(sep)[0];
    if (wanted !== part && !CPP[part]?.includes(wanted)) report(file, `includes ${header}: ${part} must not know ${wanted}`);
  }
}

for (const violation of violations) console.error(violation);
console.log(violations.length === 0 ? 'boundaries: kept' : `boundaries: ${violations.length} violations`);
process.exitCode = violations.length === 0 ? 0 : 1;

function report(file, what) {
  violations.push(`${relative(root, file)}: ${what}`);
}

/** src/route/router.ts belongs to `route`, src/types.ts to `types`. */
function partOf(file) {
  const [first] = relative(src, file).split(sep);
  return first.slice(0, first.length - extname(first).length);
}

function imports(text) {
  const pattern = /(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\()\s*['"]([^'"]+)['"]/g;
  return [...text.matchAll(pattern)].map((match) => match[1]);
}

function walk(folder, extensions) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && extensions.includes(extname(entry.name)))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}
