// Makes the npm package of the CUDA plugin for this platform, a folder to `npm pack` or `npm publish`:
//
//   node scripts/cuda-package.mjs [--plugin build/Release/libpointsman_cuda.so] [--out build/pointsman-cuda-linux-x64] [--max-glibc 2.35]
//
// Users install it beside pointsman, in the same version; src/native.ts finds it. cudart is linked into the plugin statically, so a
// driver is all that it asks for.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { tooNew } from './elf.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const LIBRARY = 'libpointsman_cuda.so';
const name = `pointsman-cuda-${process.platform}-${process.arch}`;
const { values } = parseArgs({
  options: {
    plugin: { type: 'string', default: join(root, 'build/Release', LIBRARY) },
    out: { type: 'string', default: join(root, 'build', name) },
    'max-glibc': { type: 'string', default: '2.35' },
  },
});

if (!existsSync(values.plugin)) fail(`there is no ${values.plugin}: npm run build:native builds it where there is a CUDA compiler`);
const why = tooNew(values.plugin, 'GLIBC', values['max-glibc']);
if (why) fail(why);
const { version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
rmSync(values.out, { recursive: true, force: true });
mkdirSync(values.out, { recursive: true });
copyFileSync(values.plugin, join(values.out, LIBRARY));
copyFileSync(join(root, 'LICENSE'), join(values.out, 'LICENSE'));
const description = `The CUDA backend of pointsman for ${process.platform}-${process.arch}. Needs an NVIDIA driver, and pointsman ${version}.`;
writeFileSync(
  join(values.out, 'README.md'),
  `# ${name}\n\n${description}\n\n\`\`\`sh\nnpm install pointsman@${version} ${name}@${version}\n\`\`\`\n`,
);
writeFileSync(
  join(values.out, 'package.json'),
  `${JSON.stringify(
    {
      name,
      version,
      description,
      license,
      os: [process.platform],
      cpu: [process.arch],
      libc: ['glibc'],
      files: [LIBRARY],
      peerDependencies: { pointsman: version },
    },
    null,
    2,
  )}\n`,
);
console.log(`${values.out}: ${name}@${version}`);

function fail(message) {
  console.error(message);
  process.exit(1);
}
