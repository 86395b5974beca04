// Reads what an ELF binary of any processor asks of the libraries it is linked to.
import { execFileSync } from 'node:child_process';

/** Says what `file` asks of `library`. @returns why it would not load on systems that have `limit`; undefined: it would */
export function tooNew(file, library, limit) {
  const found = newestVersion(file, library);
  console.log(`${file}: ${library} ${found ?? 'none'}, at most ${limit}`);
  if (!found || found.localeCompare(limit, undefined, { numeric: true }) <= 0) return undefined;
  return `${file} asks for ${library} ${found}: it would not load on systems with ${limit}`;
}

/** The newest version of `library` (e.g. GLIBC) among the symbols that `file` needs, such as '2.32'. */
export function newestVersion(file, library) {
  const table = execFileSync('readelf', ['--version-info', '--wide', file], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const versions = [...table.matchAll(new RegExp(`Name: ${library}_([0-9.]+)`, 'g'))].map((match) => match[1]);
  return versions.sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).at(-1);
}
