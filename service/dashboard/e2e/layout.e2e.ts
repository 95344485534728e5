// Every state of the page at four widths: nothing overlaps, sticks out or is cut, with the longest values that are
// allowed and with none, one and a million failures. The figures are made up, because no real load has them all at
// once. With SLUICE_PICTURES=1 pictures of all go to
// test-output/, in both themes.

import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boxFaults } from './boxes';
import { isLaidOut, startBrowser } from './browser';
import { burst, Fake, longest, TOKEN, type Story } from './fake';

const OUTPUT = fileURLToPath(new URL('../test-output/', import.meta.url));
/** All pictures of the page take longer than all measures of it. */
const TAKES_PICTURES = process.env.SLUICE_PICTURES === '1';
const WIDTHS = [390, 1100, 1440, 2560];
/** A page of its own for each width when pictures are taken: charts look at their width when they come up. */
const PAGES: { widths: number[] }[] = TAKES_PICTURES ? WIDTHS.map((width) => ({ widths: [width] })) : [{ widths: WIDTHS }];
const quiet = () => 0;

interface State {
  name: string;
  story: Partial<Story>;
  path?: (fake: Fake) => string;
  isAdmin?: boolean;
  /** Never gets any figures. */
  isCutOff?: boolean;
  /** From the open page to the state. */
  arrange?: (page: Page, fake: Fake) => Promise<void>;
}

const failureOf = (page: Page) => page.getByTestId('log').locator('> li').first();
const openFirst = async (page: Page) => {
  await failureOf(page).getByRole('button').first().click();
  await page.getByTestId('attempts').first().waitFor();
};
const troubled: Partial<Story> = {
  ...longest,
  degraded: ['redis', 'mongodb', 'durability', 'recorder of the second partition'],
  retouch: (snapshot) => ({
    ...snapshot,
    version: '10.20.30-beta.4',
    counters: { ...snapshot.counters, rejected: { paused: 1_234_567, malformed_json: 7_654_321 }, retried: 3_456_789 },
    gauges: { ...snapshot.gauges, queueDepth: 9_876_543, unrecorded: 1_234_567, oldestWaitingMs: 273_600_000, workers: 1_000, workersMax: 1_200, instances: 240, paused: true },
    rates: { ...snapshot.rates, admitted: 123_456, processed: 98_765, recorded: 87_654 },
    uptimeSeconds: 8_650_000,
    redis: { ...snapshot.redis, up: false, usedMemoryBytes: 123_400_000_000, appendfsync: 'everysec', durable: false },
    mongodb: { ...snapshot.mongodb, up: false },
  }),
};
const busy: Partial<Story> = {
  ...troubled,
  degraded: [],
  retouch: (snapshot) => {
    const told = troubled.retouch?.(snapshot) ?? snapshot;
    return { ...told, gauges: { ...told.gauges, paused: false }, redis: { ...told.redis, up: true, durable: true }, mongodb: { ...told.mongodb, up: true } };
  },
};

/** A cluster whose nodes have names as long as those of pods, one of them down. */
const clustered: Partial<Story> = {
  ...longest,
  degraded: ['shard', 'durability', 'memory', 'rollback', 'recording'],
  retouch: (snapshot) => {
    const host = (number: number) => `redis-shard-${number}.redis-headless.loan-ingestion-production.svc.cluster.local:6379`;
    const shards = Array.from({ length: 3 }, (_, number) => ({
      address: host(number),
      partitions: Array.from({ length: 22 }, (_, index) => number + 3 * index),
      up: number !== 1,
      ...(number === 1 ? { trouble: 'Redis refused: no connection: Connection refused (os error 111)' } : {}),
      durable: number !== 2,
      version: '7.0.15',
      queueDepth: 9_876_543,
      unrecorded: 1_234_567,
      oldestWaitingMs: 273_600_000,
      usedMemoryBytes: 123_400_000_000,
      maxMemoryBytes: 128_000_000_000,
    }));
    return {
      ...snapshot,
      counters: { ...snapshot.counters, rolledBack: 1_234_567 },
      redis: {
        ...snapshot.redis,
        isCluster: true,
        shards,
        replicas: [3, 4, 5].map((number) => ({ address: host(number), up: number !== 4 })),
        durable: false,
        trouble: 'no connection: Connection refused (os error 111)',
        weaknesses: [0, 1, 2, 3].map((number) => `${host(number)}: cluster-replica-no-failover no: set it to yes`),
      },
    };
  },
};

const STATES: readonly State[] = [
  { name: 'no failure', story: { load: quiet, failureShare: 0 } },
  {
    name: 'one failure',
    story: { load: (second) => (second < 1 ? 1 : 0), failureShare: 1 },
    arrange: openFirst,
  },
  { name: 'a load run', story: { load: burst, pastSeconds: 360 } },
  { name: 'a million failures, the longest values', story: busy },
  { name: 'a failed loan is open', story: busy, isAdmin: true, arrange: openFirst },
  {
    name: 'a failed loan is being corrected',
    story: busy,
    isAdmin: true,
    arrange: async (page) => {
      await openFirst(page);
      await page.getByRole('button', { name: 'Correct and retry' }).click();
      await page.getByLabel('Corrected loan').fill('{');
    },
  },
  { name: 'an accepted loan', story: longest, path: (fake) => `/?loan=${fake.recordedId}`, arrange: (page) => page.getByText('Fingerprint').waitFor() },
  { name: 'no such loan', story: longest, path: () => `/?loan=${'NOBODY'.repeat(10)}`, arrange: (page) => page.getByText(/There is no loan/).waitFor() },
  { name: 'everything is in trouble', story: troubled, isAdmin: true, arrange: (page) => page.getByText('Recorder of the second partition does not do what it is there for. Since').waitFor() },
  {
    name: 'a shard of a cluster is down',
    story: clustered,
    arrange: async (page) => {
      await page.getByTestId('shards').getByText('down', { exact: true }).waitFor();
      await page.getByText('Shard does not do what it is there for. Since').waitFor();
    },
  },
  {
    name: 'work on many loans goes on',
    story: busy,
    isAdmin: true,
    arrange: async (page, fake) => {
      const more = { by: 'wilhelmina.friederike.charlotte', startedAt: new Date(fake.atMs).toISOString(), expected: 12_345_678 };
      fake.tasks.unshift(
        { ...more, taskId: 'a', kind: 'export', phase: 'running', done: 1_234_567, skipped: 1_234, remaining: 0 },
        { ...more, taskId: 'b', kind: 'discard', phase: 'stopping', done: 1_234_567, skipped: 1_234_567, remaining: 9_876_544, reason: 'x'.repeat(500) },
        { ...more, taskId: 'c', kind: 'retry', phase: 'running', done: 1, skipped: 0, remaining: 12_345_677, fault: 'Redis did not answer within 10s' },
      );
      fake.work(0);
      await page.getByRole('list', { name: 'Tasks' }).getByText('of 12.35M discarded').waitFor();
    },
  },
  {
    name: 'cut off',
    story: busy,
    arrange: async (page, fake) => {
      fake.close();
      await page.getByTestId('connection').filter({ hasText: 'Disconnected' }).waitFor();
    },
  },
  {
    name: 'the page is refused',
    story: { ...busy, refusesPages: true },
    isCutOff: true,
    arrange: (page) => page.getByText('The service refuses this page. A page of').waitFor(),
  },
  {
    name: 'nothing matches the filters',
    story: busy,
    path: () => `/?loanId=${'NOBODY'.repeat(10)}&errorType=refused_by_the_credit_bureau&from=2026-01-01T00:00:00&to=2026-01-02T00:00:00`,
    arrange: (page) => page.getByText('No failure matches these filters.').waitFor(),
  },
  {
    name: 'new failures wait',
    story: busy,
    arrange: async (page, fake) => {
      await openFirst(page);
      fake.advance(20_000);
      await page.getByTestId('waiting').waitFor();
    },
  },
  {
    name: 'logging in is refused',
    story: longest,
    arrange: async (page) => {
      await page.getByRole('button', { name: 'Log in', exact: true }).click();
      await page.getByLabel('Token', { exact: true }).fill('wrong');
      await page.keyboard.press('Enter');
      await page.getByRole('alert').waitFor();
    },
  },
  {
    name: 'a retry is asked for',
    story: busy,
    isAdmin: true,
    arrange: (page) => page.getByRole('button', { name: /^Retry all/ }).click(),
  },
  {
    name: 'a retry is done',
    story: busy,
    isAdmin: true,
    arrange: async (page) => {
      await page.getByRole('button', { name: /^Retry all/ }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Retry', exact: true }).click();
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    },
  },
  {
    name: 'all figures',
    story: busy,
    arrange: async (page) => {
      await page.getByRole('button', { name: 'All figures' }).click();
      await page.getByRole('heading', { name: 'Counters: failed' }).waitFor();
    },
  },
  {
    name: 'zoomed in',
    story: { ...busy, load: burst, pastSeconds: 360 },
    arrange: async (page) => {
      await page.getByRole('button', { name: 'Zoom in' }).click();
      await page.getByTestId('zoomed').waitFor();
    },
  },
];

function sizeOf(width: number): { width: number; height: number } {
  return { width, height: width < 500 ? 844 : Math.round(width * 0.5625) };
}

async function takePictures(page: Page, name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: `${OUTPUT}${name}-${colorScheme}.png`, fullPage: true });
  }
}

let browser: Browser;

beforeAll(async () => {
  mkdirSync(OUTPUT, { recursive: true });
  browser = await startBrowser();
});

afterAll(() => browser.close());

describe.each(STATES)('$name', ({ name, story, path = () => '/', isAdmin = false, isCutOff = false, arrange }) => {
  test.each(PAGES)('at $widths pixels', async ({ widths }) => {
    const fake = new Fake(story);
    const url = await fake.listen();
    const time = setInterval(() => fake.advance(200), 200);
    const context = await browser.newContext({ viewport: sizeOf(widths[0] ?? 0), locale: 'en-US', timezoneId: 'UTC', reducedMotion: 'reduce', colorScheme: 'light' });
    try {
      const page = await context.newPage();
      await page.goto(`${url}${path(fake)}${isAdmin ? `#token=${TOKEN}` : ''}`);
      if (!isCutOff) await page.getByTestId('connection').filter({ hasText: /^Live$/ }).waitFor();
      if (isAdmin) await page.getByRole('button', { name: 'Log out' }).waitFor();
      await page.locator('[data-testid="log"], [data-testid="log-empty"]').first().waitFor();
      await arrange?.(page, fake);
      for (const width of widths) {
        await page.setViewportSize(sizeOf(width));
        await isLaidOut(page);
        if (TAKES_PICTURES) await takePictures(page, `${name.replaceAll(/\W+/g, '-')}-${width}`);
        expect(await boxFaults(page), `at ${width} pixels`).toEqual([]);
      }
    } finally {
      clearInterval(time);
      await context.close();
      fake.close();
    }
  });
});

test('what stands in one row of the log stands at one height', async () => {
  // The ids of this story are as short as the part that is never cut.
  const fake = new Fake({ load: (second) => (second < 1 ? 1 : 0), failureShare: 1 });
  const url = await fake.listen();
  const context = await browser.newContext({ viewport: sizeOf(1440) });
  try {
    const page = await context.newPage();
    await page.goto(url);
    const row = failureOf(page);
    const middles = await Promise.all(
      [row.getByRole('checkbox'), row.locator('time'), row.getByText(/^GC-\d{6}$/), row.locator('.text-bad')].map(async (piece) => {
        const box = await piece.boundingBox();
        return box === null ? NaN : box.y + box.height / 2;
      }),
    );
    expect(Math.max(...middles) - Math.min(...middles), String(middles)).toBeLessThan(2.5);
  } finally {
    await context.close();
    fake.close();
  }
});
