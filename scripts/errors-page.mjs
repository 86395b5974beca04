// Writes docs/errors.md from the error table; with --check says whether it is up to date. Needs a build (dist).
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { ERROR_CODES } = await import('../dist/errors.js');
const native = new Set(
  [...readFileSync(join(root, 'native/include/pointsman/errors.def'), 'utf8').matchAll(/^POINTSMAN_ERROR\((\w+),/gm)].map(
    ([, code]) => code,
  ),
);

const rows = Object.entries(ERROR_CODES).map(
  ([code, meaning]) => `| \`${code}\` | ${meaning} | ${native.has(code) ? 'addon, TypeScript' : 'TypeScript'} |`,
);
const page = `# Errors

Every error that pointsman throws is a \`PointsmanError\`: \`message\` is for people and may change, \`code\` is for programs
and, once released, keeps its meaning. This page is generated from the table in \`src/errors.ts\` by
\`npm run docs:errors\`; a test holds the two and the native table together.

| code | meaning | raised by |
|---|---|---|
${rows.join('\n')}
`;

const path = join(root, 'docs/errors.md');
if (process.argv.includes('--check')) {
  if (readFileSync(path, 'utf8') !== page) {
    console.error('docs/errors.md is not what the error table says: npm run docs:errors');
    process.exit(1);
  }
} else {
  writeFileSync(path, page);
}
