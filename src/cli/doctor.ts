/** `pointsman doctor`: what this machine runs, and why. */
import { PointsmanError } from '../errors.js';
import { call, native } from '../native.js';
import { type Command, noArguments } from './command.js';

/** The oldest supported Node. */
const OLDEST = [20, 19] as const;

export const doctor: Command = {
  name: 'doctor',
  summary: 'says whether pointsman can run here, with which instruction set and backend, and why',
  usage: '[options]',
  example: 'pointsman doctor',
  options: {},
  async run(_values, positionals) {
    noArguments(positionals);
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    const node = {
      version: process.versions.node,
      supported: major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]),
      needed: `>= ${OLDEST.join('.')}`,
    };
    const platform = `${process.platform}-${process.arch}`;
    const forced = process.env.POINTSMAN_ISA ?? null;
    try {
      const engine = call(() => native().doctor());
      const runs = engine.isa !== 'none';
      const sets = engine.isas.map(({ name, supported }) => `${name}${supported ? '' : ' (not on this processor)'}`);
      const backends = engine.backends.map(
        ({ name, available, reason }) => `  ${name}: ${available ? 'available' : 'not available'}, ${reason}`,
      );
      return {
        json: { ok: node.supported && runs, node, platform, forcedInstructionSet: forced, addon: { loaded: true, ...engine } },
        failed: !node.supported || !runs,
        text: [
          `Node             ${node.version} (${node.supported ? 'supported' : `too old, needed: ${node.needed}`}) on ${platform}`,
          `native addon     loaded${runs ? '' : ', but it cannot compute'}`,
          `instruction set  ${runs ? engine.isa : 'none can run'}: ${engine.isaReason}`,
          `  in this build: ${sets.join(', ')}`,
          'backends',
          ...backends,
          `threads          ${engine.threads}`,
        ].join('\n'),
      };
    } catch (error) {
      if (!(error instanceof PointsmanError)) throw error;
      const { code, message } = error;
      return {
        json: { ok: false, node, platform, forcedInstructionSet: forced, addon: { loaded: false, error: { code, message } } },
        failed: true,
        text: `Node             ${node.version} on ${platform}\nnative addon     not usable: ${message} (${code})`,
      };
    }
  },
};
