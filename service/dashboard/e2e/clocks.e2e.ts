// Wall clocks are set while the page is open: the service's, or this machine's. The service is made up, because a test may
// set no machine's clock.

import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clock } from '../src/format';
import { startBrowser } from './browser';
import { Fake } from './fake';
import { until } from './stack';

const HOUR = 3_600_000;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let fake: Fake;
let url: string;
let time: NodeJS.Timeout;

beforeAll(async () => {
  browser = await startBrowser();
});

afterAll(() => browser.close());

beforeEach(async () => {
  fake = new Fake({ load: () => 40, pastSeconds: 120, failureShare: 0 });
  url = await fake.listen();
  time = setInterval(() => fake.advance(200), 200);
  context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-US', timezoneId: 'UTC', reducedMotion: 'reduce' });
  page = await context.newPage();
  // Sets the machine's wall clock, as the page sees it.
  await page.addInitScript(() => {
    const now = Date.now.bind(Date);
    const machine = globalThis as unknown as { setByMs: number };
    machine.setByMs = 0;
    Date.now = () => now() + machine.setByMs;
  });
  await page.goto(`${url}/?minutes=1`);
  await isLive();
});

afterEach(async () => {
  clearInterval(time);
  await context.close();
  fake.close();
});

const isLive = () => page.getByTestId('connection').filter({ hasText: /^Live$/ }).waitFor();
const rates = () => page.getByRole('group', { name: /^Throughput/ });

/** The times of the newest rows, newest first, as the chart reads them out: fewer while the chart has no more. */
async function rows(count: number): Promise<number[]> {
  await rates().focus();
  await page.keyboard.press('Escape');
  const status = rates().getByRole('status');
  const at = async () => Number(await status.getAttribute('data-at'));
  const times: number[] = [];
  while (times.length < count) {
    const told = await at();
    // A key is answered before it counts as pressed.
    await page.keyboard.press('ArrowLeft');
    const now = await at();
    if (now === told) break;
    times.push(now);
  }
  return times;
}

/** The charts are of now, by the service's clock, and without a hole: before the clock was set, and after. */
async function isWhole(): Promise<void> {
  await until('the charts are of now and whole', async () => {
    const times = await rows(20);
    if (times.length < 20) return false;
    const areOfNow = Math.abs((times[0] ?? 0) - fake.atMs / 1_000) < 30;
    const arePaced = times.every((at, index) => index === 0 || ((times[index - 1] ?? 0) - at > 0.1 && (times[index - 1] ?? 0) - at < 2.5));
    return areOfNow && arePaced;
  });
}

describe.each([HOUR, -HOUR, -20_000, 20_000])("the service's clock is set by %i ms", (byMs) => {
  test('charts and activity go on', async () => {
    fake.pause(true);
    fake.pause(false);
    const resumedMs = fake.atMs;
    const activity = page.getByRole('list', { name: /^Activity/ }).getByRole('listitem');
    await activity.filter({ hasText: 'Ingestion resumed' }).waitFor();
    fake.setClock(byMs);
    await isWhole();
    fake.pause(true);
    await until('what happened since stands first', async () => (await activity.first().textContent())?.startsWith('Ingestion paused') ?? false);
    const resumed = (await activity.nth(1).textContent()) ?? '';
    expect(resumed).toContain('Ingestion resumed');
    // By the clock that holds now, to the second.
    const shown = [-1_000, 0, 1_000].map((ms) => clock(resumedMs + byMs + ms));
    expect(shown.some((text) => resumed.includes(text)), resumed).toBe(true);
    await page.getByTestId('connection').filter({ hasText: /^Live$/ }).waitFor();
  });
});

test.each([HOUR, -HOUR])('the clock of this machine is set by %i ms: nothing moves', async (byMs) => {
  await isWhole();
  let connections = 0;
  page.on('websocket', () => (connections += 1));
  await page.evaluate((ms) => {
    (globalThis as unknown as { setByMs: number }).setByMs = ms;
  }, byMs);
  const before = fake.atMs;
  await until('time goes on', () => fake.atMs > before + 2_000);
  await isWhole();
  // No silence was seen where there was none.
  expect(connections).toBe(0);
});

test('a page that is opened after the clock was set back shows all in order', async () => {
  fake.setClock(-HOUR);
  const before = fake.atMs;
  await until('some seconds are told by the new clock', () => fake.atMs > before + 5_000);
  await page.reload();
  await isLive();
  await isWhole();
});

test("a loan's steps stand in their order, and no length is negative", async () => {
  const at = (ms: number) => new Date(Date.UTC(2026, 0, 2, 3, 4, 5) + ms).toISOString();
  await page.route('**/api/loans/SET-BACK', (route) =>
    route.fulfill({
      json: {
        loanId: 'SET-BACK',
        status: 'processing',
        receivedAt: at(0),
        steps: [
          { step: 'received', at: at(0) },
          { step: 'queued', at: at(2) },
          { step: 'claimed', at: at(-HOUR) },
          { step: 'processed', at: at(-HOUR + 5) },
        ],
        attempts: [],
      },
    }),
  );
  await page.goto(`${url}/?loan=SET-BACK`);
  await page.getByTestId('steps').waitFor();
  const steps = await page.getByTestId('steps').locator('li').allInnerTexts();
  expect(steps.map((text) => text.split(/\s/)[0])).toEqual(['Received', 'Queued', 'Claimed', 'Processed']);
  expect(steps[2]).toContain('the clock was set back');
  expect(steps[3]).toMatch(/\+\s5\sms/);
  expect(steps.join()).not.toMatch(/[-−]\s?\d+ (ms|s|h)/);
});
