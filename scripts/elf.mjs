// Reads what an ELF binary of any processor asks of the libraries it is linked to.
import { execFileSync } from 'node:child_process';

/** The newest version of `library` (e.g. GLIBC) among the symbols that `file` needs, such as '2.32'. */
export function newestVersion(file, library) {
  const table = execFileSync('readelf', ['--version-info', '--wide', file], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const versions = [...table.matchAll(new RegExp(`Name: ${library}_([0-9.]+)`, 'g'))].map((match) => match[1]);
  return versions.sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).at(-1);
}
