// House rules for files: sources stay under 500 lines, and no file names a folder of somebody's machine.
//
//   node scripts/files.mjs [folder of a project]
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'));
const MAX_LINES = 500;
const SKIPPED = /^(node_modules|build|build-.*|dist|prebuilds|coverage|\.git|demo-model)$/;
const SOURCE = /\.(ts|mts|mjs|js|cpp|hpp|inc|cu|cuh)$|^\.ci\/run$/;
const TEXT = /\.(ts|mts|mjs|js|cpp|hpp|inc|def|cu|cuh|md|json|gyp|cmake|txt|yml|yaml)$|^\.ci\/run$/;
// A path that starts with one of these belongs to a machine, not to the project.
const PRIVATE_PATH = /(^|[\s'"`=(:,])\/(home|work|root|Users)\/[\w.-]/;

const problems = [];
for (const file of walk(root)) {
  const name = relative(root, file).replaceAll('\\', '/');
  if (!TEXT.test(name)) continue;
  const lines = readFileSync(file, 'utf8').split('\n');
  if (SOURCE.test(name) && lines.length > MAX_LINES) problems.push(`${name}: ${lines.length} lines; ${MAX_LINES} are the limit`);
  lines.forEach((line, i) => {
    if (PRIVATE_PATH.test(line)) problems.push(`${name}:${i + 1}: names a folder of one machine`);
  });
}
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? 'files: in order' : `files: ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;

function walk(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return SKIPPED.test(entry.name) ? [] : walk(join(folder, entry.name));
    return entry.isFile() ? [join(folder, entry.name)] : [];
  });
}
