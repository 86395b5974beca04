import { defineConfig } from 'vitest/config';
import { native } from './src/native.js';

/** The suite that every instruction set and backend must pass alike. */
const CONTRACT = 'test/engine.contract.test.ts';

// Worker processes, not threads: the addon reads POINTSMAN_ISA from the environment of its process.
const shared = { pool: 'forks', testTimeout: 60_000, hookTimeout: 60_000 } as const;

const isas = native()
  .doctor()
  .isas.filter((isa) => isa.supported)
  .map((isa) => isa.name);

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'pointsman', include: ['test/**/*.test.ts'], exclude: [CONTRACT] } },
      ...isas.map((isa) => ({ test: { ...shared, name: isa, include: [CONTRACT], env: { POINTSMAN_ISA: isa } } })),
    ],
  },
});
