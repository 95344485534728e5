import { defineConfig } from 'vitest/config';

// In a real browser against a real stack. One file after the other: there is one browser and one stack.
export default defineConfig({
  test: {
    include: ['e2e/**/*.e2e.ts'],
    fileParallelism: false,
    // Nothing is proved by time: these end what would never end.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    env: { TZ: 'UTC' },
  },
});
