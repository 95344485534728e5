// An operator's work on many loans, against a made-up service: the real one does not know these calls yet.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { boxFaults } from './boxes';
import { isLaidOut, startBrowser } from './browser';
import { Fake, longest, TOKEN } from './fake';
import { until } from './stack';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
let browser: Browser;
let context: BrowserContext;
let page: Page;
let fake: Fake;
let time: NodeJS.Timeout;

beforeAll(async () => {
  browser = await startBrowser();
});

afterAll(() => browser.close());

beforeEach(async () => {
  fake = new Fake(longest);
  const url = await fake.listen();
  time = setInterval(() => fake.advance(200), 200);
  context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-US', timezoneId: 'UTC', reducedMotion: 'reduce' });
  page = await context.newPage();
  await page.goto(`${url}/#token=${TOKEN}`);
  await page.getByRole('button', { name: 'Log out' }).waitFor();
  await page.getByTestId('log').locator('> li').first().waitFor();
});

afterEach(async () => {
  clearInterval(time);
  await context.close();
  fake.close();
});

const boxes = () => page.getByTestId('log').getByRole('checkbox');
const dialog = () => page.getByRole('dialog');
const tasks = () => page.getByRole('list', { name: 'Tasks' }).getByRole('listitem');

async function isSound(): Promise<void> {
  for (const width of [390, 1100, 1440, 2560]) {
    await page.setViewportSize({ width, height: 900 });
    await isLaidOut(page);
    expect(await boxFaults(page), `at ${width} pixels`).toEqual([]);
  }
  await page.evaluate(readFileSync(AXE, 'utf8'));
  const found = await page.evaluate(async () => (await (window as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }).axe.run()).violations);
  expect(found.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`)).toEqual([]);
}

test('rows that are chosen are discarded with a reason, by the keyboard alone', async () => {
  // The focus in the log holds its rows where they are.
  await boxes().first().focus();
  await page.keyboard.press('Space');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Space');
  await page.getByText('2 loans chosen').waitFor();
  const ids = await boxes().evaluateAll((all) => all.filter((box) => (box as HTMLInputElement).checked).map((box) => box.getAttribute('aria-label')?.replace('Choose ', '')));
  await isSound();
  await page.getByRole('button', { name: 'Discard …' }).focus();
  await page.keyboard.press('Enter');
  await page.getByTestId('affected').filter({ hasText: '2 failed loans' }).waitFor();
  expect(await dialog().getByRole('button', { name: /^Discard 2/ }).getAttribute('aria-disabled')).toBe('true');
  await page.keyboard.type('Asked for by the branch');
  await isSound();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await dialog().waitFor({ state: 'detached' });
  expect(fake.tasks[0]).toMatchObject({ kind: 'discard', reason: 'Asked for by the branch', expected: 2, loanIds: ids });
  await tasks().filter({ hasText: '0 of 2 discarded' }).waitFor();
  fake.work(2);
  await tasks().filter({ hasText: '2 of 2 discarded' }).waitFor();
});

test('all that the filters find are counted, asked for, queued again, and stopped', async () => {
  await page.getByRole('combobox', { name: 'Type' }).selectOption('conflict');
  await page.getByText('All that match').waitFor();
  await page.getByRole('button', { name: 'Retry …' }).click();
  await page.getByTestId('affected').filter({ hasText: /^[\d,]+ failed loans?$/ }).waitFor();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
  expect(fake.tasks).toEqual([]);
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByRole('button', { name: 'Retry …' }).click();
  await dialog().getByRole('button', { name: /^Retry 1,\d{3},\d{3}$/ }).click();
  await dialog().waitFor({ state: 'detached' });
  expect(fake.tasks[0]).toMatchObject({ kind: 'retry', filter: {} });
  fake.work(123_456);
  await tasks().filter({ hasText: /^Queueing again123,456 of 1,\d{3},\d{3} queued again/ }).waitFor();
  await isSound();
  await tasks().getByRole('button', { name: 'Stop' }).click();
  await tasks().filter({ hasText: 'left as they were' }).waitFor();
  await tasks().getByRole('button', { name: 'Dismiss' }).click();
  await tasks().waitFor({ state: 'detached' });
});

test('where more have failed since they were counted, nothing begins before the new number is confirmed', async () => {
  fake.failedSince = 7;
  await page.getByRole('button', { name: 'Retry …' }).click();
  const affected = page.getByTestId('affected').filter({ hasText: /^[\d,]+ failed loans$/ });
  await affected.waitFor();
  const number = async () => Number((await affected.innerText()).replace(/\D/g, ''));
  const first = await number();
  await dialog().getByRole('button', { name: /^Retry [\d,]+$/ }).click();
  await page.getByText('nothing was begun').waitFor();
  expect(fake.tasks).toEqual([]);
  const second = await number();
  expect(second - first).toBeGreaterThanOrEqual(7);
  await isSound();
  await dialog().getByRole('button', { name: /^Retry [\d,]+$/ }).click();
  await dialog().waitFor({ state: 'detached' });
  expect(fake.tasks[0]).toMatchObject({ kind: 'retry', filter: {}, expected: second });
});

test('export takes the filters and no token into the address', async () => {
  await page.getByRole('searchbox', { name: 'Applicant' }).fill('wilhelmina');
  await page.keyboard.press('Enter');
  await until('the filter is in the address', () => page.url().includes('applicant=wilhelmina'));
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'NDJSON' }).click();
  await download;
  expect(fake.exported).toEqual([{ of: 'errors', format: 'ndjson', filter: { applicant: 'wilhelmina' } }]);
  expect(page.url()).not.toContain(TOKEN);
  await tasks().filter({ hasText: 'Exporting0 rows written, by ada' }).waitFor();
  expect(await tasks().getByRole('button', { name: 'Stop' }).count()).toBe(0);
  await isSound();
});

test('a page that is opened in the middle shows how far a task is', async () => {
  await page.getByRole('button', { name: 'Retry …' }).click();
  await dialog().getByRole('button', { name: /^Retry 1,\d{3},\d{3}$/ }).click();
  await dialog().waitFor({ state: 'detached' });
  fake.work(1_000);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await page.reload();
  await tasks().filter({ hasText: /^Queueing again1,000 of/ }).waitFor();
  fake.work(234);
  await tasks().filter({ hasText: /^Queueing again1,234 of/ }).waitFor();
  // Told, not asked for.
  expect(asked.filter((path) => path.startsWith('/api/tasks') || path === '/readyz')).toEqual([]);
});

test('instances and partitions are listed', async () => {
  await page.getByRole('button', { name: 'Instances' }).click();
  await page.getByTestId('instances').getByText('0-9f8e7d6c5b4a').waitFor();
  await page.getByTestId('partitions').getByText('1,234,567 queued, the oldest waits 1 m 01 s').first().waitFor();
  await page.getByTestId('partitions').getByText('Redis does not answer').waitFor();
  await isSound();
});
