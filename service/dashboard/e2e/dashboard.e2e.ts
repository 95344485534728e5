// The dashboard in a real browser, on a real stack.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { schemaOf } from '../scripts/schema.mjs';
import { count, share } from '../src/format';
import { startBrowser } from './browser';
import { loan, loans, Stack, TOKEN, until } from './stack';

const OUTPUT = fileURLToPath(new URL('../test-output/', import.meta.url));
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const WIDTHS = [360, 768, 1280, 1920, 2560];

let stack: Stack;
let browser: Browser;
let context: BrowserContext;
/** What went wrong on a page: nothing may. */
let complaints: string[] = [];

beforeAll(async () => {
  mkdirSync(OUTPUT, { recursive: true });
  [stack, browser] = await Promise.all([Stack.start('--record-interval', '50ms', '--loans-per-worker', '3'), startBrowser()]);
});

afterAll(async () => {
  await browser.close();
  await stack.stop();
});

afterEach(async () => {
  await context.close();
  const found = complaints;
  complaints = [];
  expect(found).toEqual([]);
});

interface Options {
  path?: string;
  isAdmin?: boolean;
  width?: number;
  height?: number;
  theme?: 'light' | 'dark';
  /** Before the page is loaded. */
  prepare?: (page: Page) => Promise<void>;
}

/** Opens the dashboard and waits until it is live. */
async function open({ path = '/', isAdmin = false, width = 1280, height = 900, theme = 'light', prepare }: Options = {}): Promise<Page> {
  context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: 'reduce', timezoneId: 'UTC', locale: 'en-US' });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // A browser tells failed requests itself; some tests cause them.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource') && !message.text().startsWith('WebSocket connection')) complaints.push(message.text());
  });
  page.on('request', (request) => {
    if (new URL(request.url()).host !== new URL(stack.url).host) complaints.push(`a request to ${request.url()}`);
  });
  await prepare?.(page);
  await page.goto(`${stack.url}${path}${isAdmin ? `#token=${TOKEN}` : ''}`);
  await isLive(page);
  if (isAdmin) await page.getByRole('button', { name: 'Log out' }).waitFor();
  return page;
}

function isLive(page: Page): Promise<void> {
  return page.getByTestId('connection').filter({ hasText: /^Live$/ }).waitFor({ timeout: 60_000 });
}

const value = (page: Page, name: string): Promise<string | null> => page.locator(`[data-value="${name}"]`).textContent();
const rows = (page: Page): Locator => page.getByTestId('log').locator('> li');
const rowOf = (page: Page, loanId: string): Locator => page.locator(`[data-testid="log"] > li[data-loan="${loanId}"]`);
const idsOf = (page: Page): Promise<(string | null)[]> => rows(page).evaluateAll((list) => list.map((row) => row.getAttribute('data-loan')));
const said = (page: Page, text: string | RegExp): Promise<void> => page.getByRole('status', { name: 'Results' }).getByText(text).waitFor();

/** What a chart shows, as a digest of its pixels. */
function picture(page: Page, chart: string): Promise<string> {
  return page.locator(`[data-chart="${chart}"] canvas`).evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
}

describe('the figures', () => {
  test('move under load and agree with /api/metrics', async () => {
    const page = await open({ path: '/?minutes=1' });
    const before = await picture(page, 'rates');
    await stack.postAll([...loans(270), ...loans(20, 'bad score'), ...loans(10, 'no name')]);
    await until('the chart has moved', async () => (await picture(page, 'rates')) !== before);
    const metrics = await stack.drained();
    await until('the page tells the newest', async () => (await value(page, 'accepted')) === count(metrics.counters.accepted));
    expect(await value(page, 'failed')).toBe(count(30));
    expect(await value(page, 'queued')).toBe('0');
    const totals = page.getByTestId('totals');
    expect(await totals.textContent()).toContain(`${count(metrics.counters.admitted)} in all`);
    expect(await totals.textContent()).toContain(`${share(30, metrics.counters.processed)} of processed`);
    const types = page.getByTestId('by-type');
    for (const [type, number] of Object.entries(metrics.counters.failed)) {
      if (number > 0) await types.getByRole('button', { name: new RegExp(`${type.replaceAll('_', ' ')} ${count(number)}\\b`, 'i') }).waitFor();
    }
    // Applicants are read once a second.
    await until('the applicants are told', async () => (await page.getByTestId('by-applicant').locator('li').count()) === 20);
  });

  test('the readout under the cursor is of the hovered second', async () => {
    const page = await open({ path: '/?minutes=1' });
    await stack.postAll(loans(200));
    const history = (await (await fetch(`${stack.url}/api/history`)).json()) as { points: { queueDepth: number; workers: number }[] };
    expect(history.points.length).toBeGreaterThan(2);
    await page.getByRole('group', { name: /^Throughput/ }).focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    const spoken = await until('values are read out', async () => {
      const text = await page.locator('[aria-label^="Throughput"] [role="status"]').textContent();
      return text !== null && /^\d\d:\d\d:\d\d, Recorded .*\/s, Ingested .*\/s, Processed .*\/s/.test(text) ? text : null;
    });
    const tip = page.locator('[aria-label^="Throughput"] [data-tip]');
    await until('the tip shows the same time', async () => (await tip.textContent())?.startsWith(spoken.slice(0, 8)) ?? false);
    // Hovering with the mouse takes over.
    const box = await page.locator('[data-chart="rates"]').boundingBox();
    if (box === null) throw new Error('no chart');
    await page.mouse.move(box.x + box.width - 120, box.y + box.height / 2);
    await until('the tip follows the mouse', async () => !((await tip.textContent())?.startsWith(spoken.slice(0, 8)) ?? true));
  });

  test('a stretch that is dragged across is zoomed into, and live is one press away', async () => {
    const page = await open();
    const box = await page.locator('[data-chart="queue"]').boundingBox();
    if (box === null) throw new Error('no chart');
    await page.mouse.move(box.x + 300, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + 500, box.y + 40, { steps: 5 });
    await page.mouse.up();
    await page.getByTestId('zoomed').waitFor();
    await page.getByRole('button', { name: 'Back to live' }).click();
    await page.getByRole('heading', { name: 'Last 5 minutes' }).waitFor();
    await page.getByText('30 min').click();
    await page.getByRole('heading', { name: 'Last 30 minutes' }).waitFor();
    expect(new URL(page.url()).searchParams.get('minutes')).toBe('30');
  });

  test('scaling steps are told with their reason', async () => {
    const page = await open();
    await stack.postAll(loans(1_500), 200);
    await page.getByRole('list', { name: /^Activity/ }).getByText(/Workers 1 → \d: .+/).first().waitFor();
  });
});

describe('the error log', () => {
  test('is filtered by type, loan and time, together, in the address', async () => {
    const wanted = loans(3, 'bad score', 'FILTER');
    await stack.postAll([...wanted, ...loans(3, 'no name', 'OTHER')]);
    await stack.drained();
    const page = await open();
    await page.getByRole('combobox', { name: 'Type' }).selectOption('out_of_range');
    await until('only that type is shown', async () => (await idsOf(page)).length > 0 && (await idsOf(page)).every((id) => id !== null && !id.startsWith('OTHER')));
    await page.getByRole('searchbox', { name: 'Loan', exact: true }).fill(wanted[1]?.loanId ?? '');
    await page.keyboard.press('Enter');
    await until('only that loan is shown', async () => (await idsOf(page)).join() === wanted[1]?.loanId);
    expect(Object.fromEntries(new URL(page.url()).searchParams)).toEqual({ errorType: 'out_of_range', loanId: wanted[1]?.loanId });

    await page.reload();
    await until('the address brings the filters back', async () => (await idsOf(page)).join() === wanted[1]?.loanId);
    await page.getByLabel('To', { exact: true }).fill('2020-01-01T00:00:00');
    await page.getByText('No failure matches these filters.').waitFor();
    await page.getByLabel('To', { exact: true }).fill('2099-01-01T00:00:00');
    await page.getByLabel('From', { exact: true }).fill('2020-01-01T00:00:00');
    await until('the loan lies between', async () => (await idsOf(page)).join() === wanted[1]?.loanId);
    await page.goBack();
    await page.goBack();
    await page.goBack();
    await until('back takes the filters back', async () => (await page.getByLabel('To', { exact: true }).inputValue()) === '');
    await page.getByRole('button', { name: 'Clear' }).click();
    await until('all are shown again', async () => (await rows(page).count()) > 5);
    expect(new URL(page.url()).search).toBe('');
  });

  test('pages to the oldest and back, each failure once', async () => {
    const sent = loans(120, 'bad score', 'PAGE');
    await stack.postAll(sent);
    const metrics = await stack.drained();
    const total = Object.values(metrics.counters.failed).reduce((sum, number) => sum + number, 0);
    const page = await open();
    const seen: (string | null)[] = [];
    for (let number = 1; ; number += 1) {
      await page.getByTestId('page').filter({ hasText: new RegExp(`^Page ${number}$`) }).waitFor();
      await until('the page is read', async () => (await page.locator('[aria-busy="true"]').count()) === 0);
      seen.push(...(await idsOf(page)));
      const older = page.getByRole('button', { name: /^Older/ });
      if ((await older.getAttribute('aria-disabled')) === 'true') break;
      await older.click();
    }
    expect(seen.length).toBe(total);
    expect(new Set(seen).size).toBe(total);
    for (const { loanId } of sent) expect(seen).toContain(loanId);
    await page.getByRole('button', { name: 'Newest' }).click();
    await page.getByTestId('page').filter({ hasText: 'Page 1' }).waitFor();
    await until('the newest stand there again', async () => (await idsOf(page))[0] === seen[0]);
  });

  test('live failures appear at the top, and move nothing while a row is open', async () => {
    await stack.postAll(loans(3, 'bad score', 'READ'));
    await stack.drained();
    const page = await open();
    const first = loan('bad score', 'LIVE');
    await stack.post(first);
    await rowOf(page, first.loanId).waitFor();
    await rowOf(page, first.loanId).getByRole('button').first().click();
    await rowOf(page, first.loanId).getByText('creditScore').first().waitFor();
    await page.mouse.move(0, 0);
    const before = await rowOf(page, first.loanId).boundingBox();
    const ids = await idsOf(page);
    await stack.postAll(loans(5, 'bad score', 'LIVE'));
    await page.getByTestId('waiting').filter({ hasText: '5 new failures' }).waitFor();
    expect(await idsOf(page)).toEqual(ids);
    expect((await rowOf(page, first.loanId).boundingBox())?.y).toBe(before?.y);
    await page.getByTestId('waiting').click();
    await until('they are shown', async () => (await idsOf(page)).filter((id) => id?.startsWith('LIVE')).length === 6);
  });

  test('a row opens to all faults and attempts of its loan', async () => {
    const twice = { ...loan('bad score', 'FAULTS'), termMonths: 0 };
    await stack.postAll([twice]);
    await stack.drained();
    const page = await open({ isAdmin: true, path: `/?loanId=${twice.loanId}` });
    await rowOf(page, twice.loanId).getByRole('button').first().click();
    const details = page.getByTestId('loan');
    await details.getByTestId('loan-status').filter({ hasText: 'Failed' }).waitFor();
    for (const field of ['creditScore', 'termMonths']) await details.getByTestId('attempts').getByText(field).waitFor();
    await details.getByRole('button', { name: 'Retry', exact: true }).click();
    await said(page, '1 loan queued again.');
    await until('both attempts are told', async () => {
      await page.reload();
      await isLive(page);
      await rows(page).first().getByRole('button').first().click();
      await page.getByTestId('attempts').waitFor();
      return (await page.getByTestId('attempts').locator('> li').count()) === 2;
    });
  });

  test('320 failures in a burst are all counted, and the page keeps up', async () => {
    const page = await open();
    const before = Number((await value(page, 'failed'))?.replaceAll(',', ''));
    await stack.postAll(loans(320, 'bad score', 'BURST'));
    await stack.drained();
    await until('all are counted', async () => (await value(page, 'failed')) === count(before + 320));
    await until('the newest are shown, a page of them', async () => {
      const ids = await idsOf(page);
      return ids.length === 50 && ids.every((id) => id?.startsWith('BURST'));
    });
  });
});

describe('the controls', () => {
  test('are off without a login and say why; a wrong token is refused in words', async () => {
    const page = await open();
    const pauseButton = page.getByRole('button', { name: /^Pause/ });
    expect(await pauseButton.getAttribute('aria-disabled')).toBe('true');
    expect(await pauseButton.getAttribute('title')).toBe('Log in first');
    await pauseButton.click({ force: true });
    expect(await page.getByRole('dialog').count()).toBe(0);

    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await page.getByLabel('Token', { exact: true }).fill('wrong');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'does not accept this token' }).waitFor();
    expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain('wrong');
    await page.getByLabel('Token', { exact: true }).fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Log out' }).waitFor();
    const isOff = async () => (await pauseButton.getAttribute('aria-disabled')) === 'true';
    await until('an operator may pause', async () => !(await isOff()));
    await page.getByRole('button', { name: 'Log out' }).click();
    await until('it is off again', isOff);
  });

  test('the login link logs in and leaves no token in the address', async () => {
    const page = await open({ isAdmin: true });
    expect(page.url()).not.toContain(TOKEN);
    await page.reload();
    await page.getByRole('button', { name: 'Log out' }).waitFor();
  });

  test('pause asks, pauses every instance, is told, and resume ends it', async () => {
    const page = await open({ isAdmin: true });
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(await (await fetch(`${stack.url}/api/control`)).json()).toMatchObject({ paused: false });
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Pause ingestion' }).click();
    await said(page, 'Ingestion is paused, for every instance.');
    await page.getByText(/^Ingestion is paused since/).waitFor();
    expect(await (await fetch(`${stack.url}/api/control`)).json()).toMatchObject({ paused: true });
    expect(await stack.post(loan())).toBe(503);
    await page.getByRole('button', { name: 'Resume' }).first().click();
    await until('loans are taken again', async () => (await stack.post(loan())) === 202);
    await page.locator('[data-banner="warn"]').waitFor({ state: 'detached' });
  });

  test('retry by type asks, and says how many were queued again', async () => {
    await stack.postAll(loans(4, 'no name', 'RETRY'));
    const before = (await stack.drained()).counters.retried;
    const page = await open({ isAdmin: true });
    await page.getByRole('button', { name: 'Retry missing field' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Retry', exact: true }).click();
    await said(page, /^\d+ loans queued again/);
    await until('all of them are counted', async () => (await stack.metrics()).counters.retried >= before + 4);
    await page.getByRole('list', { name: /^Activity/ }).getByText(/failed loans queued again/).first().waitFor();
  });

  test('a loan is corrected in place and recorded', async () => {
    const wrong = loan('bad score', 'FIX');
    await stack.postAll([wrong]);
    await stack.drained();
    const page = await open({ isAdmin: true, path: `/?loanId=${wrong.loanId}` });
    await rowOf(page, wrong.loanId).getByRole('button').first().click();
    await page.getByRole('button', { name: 'Correct and retry' }).click();
    const draft = page.getByLabel('Corrected loan');
    await draft.fill('{');
    await page.getByText('This is not JSON').first().waitFor();
    expect(await page.getByRole('button', { name: /^Queue the corrected loan/ }).getAttribute('aria-disabled')).toBe('true');
    await draft.fill(JSON.stringify({ ...wrong, creditScore: 712 }));
    await page.getByRole('button', { name: 'Queue the corrected loan' }).click();
    await said(page, '1 loan queued again.');
    await until('it is recorded', async () => {
      const state = (await (await fetch(`${stack.url}/api/loans/${wrong.loanId}`)).json()) as { status: string };
      return state.status === 'recorded';
    });
  });
});

describe('one loan', () => {
  test('is found by its id, with every step and its time', async () => {
    const wanted = loan('good', 'FIND');
    await stack.postAll([wanted]);
    await stack.drained();
    // Personal data is masked for whoever has no token.
    const page = await open({ isAdmin: true });
    await page.keyboard.press('/');
    await page.keyboard.type(wanted.loanId);
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: `Loan ${wanted.loanId}` });
    await dialog.getByTestId('loan-status').filter({ hasText: 'Recorded' }).waitFor();
    const steps = await dialog.getByTestId('steps').locator('li').allTextContents();
    expect(steps[0]).toMatch(/^Received\d\d:\d\d:\d\d\.\d{3}/);
    expect(steps.at(-1)).toMatch(/^Recorded/);
    // Money, rates and terms as people write them, and each instant once.
    const text = await dialog.innerText();
    for (const told of [/^Amount\nDEM 1,169\.50$/m, /^Annual rate\n\d+\.\d\d %$/m, /^Monthly instalment\nDEM \d+\.\d\d$/m, /^Term\n6 months$/m, /^Annual income\nDEM 42,000\.00$/m]) expect(text).toMatch(told);
    expect(text).not.toMatch(/Minor|BasisPoints|\dT\d/);
    expect(text.match(/\d\d:\d\d:\d\d/g)).toHaveLength(steps.length);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.goto(`${stack.url}/?loan=NOBODY`);
    await page.getByText('There is no loan NOBODY.').waitFor();
  });
});

describe("an operator's work", () => {
  test('one failed loan is discarded with a reason, and stays in the record', async () => {
    const bad = loan('bad score', 'DISCARD');
    await stack.postAll([bad]);
    await stack.drained();
    const page = await open({ isAdmin: true, path: `/?loanId=${bad.loanId}` });
    await rowOf(page, bad.loanId).getByRole('button').click();
    await page.getByTestId('loan').getByRole('button', { name: 'Discard …' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByTestId('affected').getByText(bad.loanId).waitFor();
    expect(await dialog.getByRole('button', { name: /^Discard/ }).getAttribute('aria-disabled')).toBe('true');
    await dialog.getByLabel('Reason').fill('Sent by mistake');
    await dialog.getByRole('button', { name: /^Discard/ }).click();
    await page.getByRole('list', { name: 'Tasks' }).getByText('1 of 1 discarded').waitFor();
    await page.getByTestId('discarded').filter({ hasText: 'Discarded by administrator: Sent by mistake' }).waitFor();
    await page.getByTestId('loan-status').filter({ hasText: 'Discarded' }).waitFor();
    await page.goto(`${stack.url}/?loan=${bad.loanId}`);
    const record = page.getByRole('dialog', { name: `Loan ${bad.loanId}` });
    await record.getByTestId('discarded').filter({ hasText: 'Discarded by administrator: Sent by mistake' }).waitFor();
    await record.getByTestId('loan-status').filter({ hasText: 'Discarded' }).waitFor();
    await page.keyboard.press('Escape');
    await record.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'By operators …' }).click();
    await page.getByTestId('changes').getByText(`loan ${bad.loanId}: 1 discarded, 0 skipped: Sent by mistake`).waitFor();
  });

  test('all that a filter finds are retried, and exported', async () => {
    const bads = Array.from({ length: 7 }, () => loan('bad score', 'BATCH'));
    await stack.postAll(bads);
    await stack.drained();
    const page = await open({ isAdmin: true, path: '/?loanId=BATCH' });
    await until('only those are shown', async () => (await idsOf(page)).length === 7);
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'CSV' }).click();
    const stream = await (await download).createReadStream();
    let text = '';
    for await (const part of stream) text += String(part);
    expect(text.split('\r\n').filter((line) => line.startsWith('BATCH-'))).toHaveLength(7);
    await page.getByRole('group', { name: 'Act on failed loans' }).getByRole('button', { name: 'Retry …' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByTestId('affected').getByText('7 failed loans').waitFor();
    await dialog.getByRole('button', { name: 'Retry 7' }).click();
    await page.getByRole('list', { name: 'Tasks' }).getByText('7 of 7 queued again').waitFor();
    await stack.drained();
  });

  test('instances and partitions are listed', async () => {
    const page = await open();
    await page.getByRole('button', { name: 'Instances' }).click();
    await page.getByTestId('instances').getByText('version').waitFor();
    await page.getByTestId('partitions').getByText('Partition 0').waitFor();
  });

  test('a day and a week are charted', async () => {
    await stack.postAll(loans(50));
    await stack.drained();
    // The service notes the minute that it is every ten seconds.
    await until('the day has a point', async () => {
      const history = (await (await fetch(`${stack.url}/api/history?minutes=1440`)).json()) as { points: unknown[] };
      return history.points.length > 0;
    });
    const page = await open();
    const before = await picture(page, 'rates');
    await page.getByText('24 h').click();
    await page.getByRole('heading', { name: 'Last 24 hours' }).waitFor();
    expect(new URL(page.url()).searchParams.get('minutes')).toBe('1440');
    await until('another picture is drawn', async () => (await picture(page, 'rates')) !== before);
    await page.getByText('7 d').click();
    await page.getByRole('heading', { name: 'Last 7 days' }).waitFor();
    await page.getByText('5 min').click();
    await page.getByRole('heading', { name: 'Last 5 minutes' }).waitFor();
  });
});

describe('the connection', () => {
  test('comes back by itself after the service was killed, and fills the gap', async () => {
    const page = await open({ isAdmin: true, path: '/?minutes=1' });
    await stack.postAll(loans(50));
    await stack.drained();
    await stack.order('kill service');
    await page.getByTestId('connection').filter({ hasText: 'Disconnected' }).waitFor();
    await page.getByText(/no longer live/).waitFor();
    await until('the figures are dimmed', () => page.getByTestId('totals').evaluate((totals) => Number(getComputedStyle(totals).opacity) < 0.6));
    expect(await page.getByRole('button', { name: /^Pause/ }).getAttribute('aria-disabled')).toBe('true');
    await page.screenshot({ path: `${OUTPUT}disconnected.png` });
    await stack.order('start service');
    await isLive(page);
    await page.locator('[data-banner="bad"]').waitFor({ state: 'detached' });
    await stack.postAll(loans(10));
    const { counters } = await stack.drained();
    await until('the figures are of now', async () => (await value(page, 'accepted')) === count(counters.accepted));
    // The token of before still holds.
    await page.getByRole('button', { name: 'Log out' }).waitFor();
  });

  test('a lost connection is tried at once when somebody asks for it', async () => {
    let attempts = 0;
    let cut = (): void => undefined;
    const page = await open({
      prepare: async (fresh) => {
        await fresh.clock.install();
        await fresh.routeWebSocket('**/ws', (socket) => {
          attempts += 1;
          const server = socket.connectToServer();
          // Every later one is refused.
          if (attempts > 1) void Promise.all([server.close(), socket.close()]);
          else cut = () => void Promise.all([server.close(), socket.close()]);
        });
      },
    });
    cut();
    await page.getByTestId('connection').filter({ hasText: 'Disconnected' }).waitFor();
    // The page's time stands still from here: it makes no attempt of its own.
    await page.clock.pauseAt(Date.now() + 60_000);
    await page.getByTestId('connection').filter({ hasText: 'Disconnected' }).waitFor();
    const before = attempts;
    await page.getByRole('button', { name: 'Now' }).click();
    await until('another attempt', () => attempts > before);
  });

  test('what a lost connection missed is fetched when it is back', async () => {
    let isCut = false;
    let cut = (): void => undefined;
    const page = await open({
      path: '/?minutes=1',
      prepare: (fresh) =>
        fresh.routeWebSocket('**/ws', async (socket) => {
          if (isCut) return socket.close();
          socket.connectToServer();
          cut = () => {
            isCut = true;
            void socket.close();
          };
        }),
    });
    const rates = page.getByRole('group', { name: /^Throughput/ });
    const points = async () => ((await (await fetch(`${stack.url}/api/history?minutes=1`)).json()) as { points: unknown[] }).points.length;
    await until('there is some history', async () => (await points()) >= 14);
    cut();
    await page.getByTestId('connection').filter({ hasText: 'Disconnected' }).waitFor();
    // Longer than what counts as a gap; the history goes on meanwhile.
    const before = await points();
    await until('history has gone on', async () => (await points()) >= Math.min(58, before + 7));
    isCut = false;
    await isLive(page);
    // Second for second, without a hole.
    await rates.focus();
    const at = async () => Number(await rates.getByRole('status').getAttribute('data-at'));
    const times: number[] = [];
    await until('the rows of the outage are there', async () => {
      times.length = 0;
      await page.keyboard.press('Escape');
      for (let step = 0; step < 12; step += 1) {
        const told = await at();
        await page.keyboard.press('ArrowLeft');
        times.push(await until('another row is read out', async () => ((await at()) !== told ? at() : null)));
      }
      return times.every((time, index) => index === 0 || Math.abs((times[index - 1] ?? 0) - time) <= 2);
    });
    expect((times[0] ?? 0) - (times.at(-1) ?? 0)).toBeGreaterThanOrEqual(9);
  });

  test('a service that hangs is not shown as live', async () => {
    const page = await open();
    await stack.order('freeze service');
    try {
      await page.getByTestId('connection').filter({ hasText: 'No data' }).waitFor();
      await page.getByText('The service is silent.').waitFor();
    } finally {
      await stack.order('thaw service');
    }
    await isLive(page);
  });

  test('a Redis that is down is told at once', async () => {
    const page = await open();
    await stack.order('kill redis');
    try {
      await page.getByText('Redis does not answer.').waitFor();
    } finally {
      await stack.order('start redis');
    }
    await page.locator('[data-banner="bad"]').waitFor({ state: 'detached', timeout: 60_000 });
  });

  test('run markers of a load run stand on the page', async () => {
    const page = await open();
    const mark = async (marker: object) => {
      const response = await fetch(`${stack.url}/api/runs`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify({ runId: 'r1', scenario: 'burst-500', ...marker }),
      });
      expect(response.status).toBe(202);
    };
    await mark({ kind: 'start' });
    await mark({ kind: 'phase', name: 'warm-up' });
    await page.getByTestId('run').filter({ hasText: 'Load run burst-500' }).waitFor();
    await mark({ kind: 'latency', responseUs: { p50: 1_000, p90: 2_000, p99: 4_200, p999: 5_000, max: 6_000, count: 500 } });
    await page.locator('[data-column="clientP99"]').filter({ hasText: '4.2 ms' }).waitFor();
    await mark({ kind: 'fault', name: 'kill -9 of Redis' });
    await mark({ kind: 'end', verdict: 'pass' });
    for (const text of ['Load run of burst-500 begins', 'Phase warm-up', 'Fault: kill -9 of Redis', 'Load run of burst-500 ends: pass']) {
      await page.getByRole('list', { name: /^Activity/ }).getByText(text).waitFor();
    }
    await page.getByTestId('run').waitFor({ state: 'detached' });
    // A page that is opened later has them from the history.
    await page.reload();
    await page.getByText('Load run of burst-500 ends: pass').waitFor();
  });
});

describe('everybody can use it', () => {
  test('the keyboard alone pauses, resumes, filters and opens a row', async () => {
    const wanted = loan('bad score', 'KEYS');
    await stack.postAll([wanted]);
    await stack.drained();
    const page = await open({ isAdmin: true });
    const tabTo = async (matches: string) => {
      for (let presses = 0; presses < 80; presses += 1) {
        await page.keyboard.press('Tab');
        if (await page.evaluate((selector) => document.activeElement?.matches(selector) ?? false, matches)) return;
      }
      throw new Error(`Tab does not reach ${matches}`);
    };
    await tabTo('button:has(span):not([aria-label])');
    await page.getByRole('button', { name: 'Pause' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    // The harmless answer has the focus; the other is one Tab away.
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Cancel');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await said(page, 'Ingestion is paused, for every instance.');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Resume' }).first().focus();
    await page.keyboard.press('Enter');
    await said(page, 'Ingestion goes on.');

    await tabTo('select');
    await page.keyboard.press('o');
    await page.keyboard.press('o');
    await until('the filter is in the address', () => page.url().includes('errorType='));
    await page.goto(`${stack.url}/?loanId=${wanted.loanId}`);
    await rowOf(page, wanted.loanId).waitFor();
    await tabTo('[data-testid="log"] button');
    await page.keyboard.press('Enter');
    await page.getByTestId('loan').waitFor();
  });

  for (const theme of ['light', 'dark'] as const) {
    test(`axe finds nothing serious, ${theme}`, async () => {
      const page = await open({ isAdmin: true, theme });
      const serious = async () => {
        const found = await page.evaluate(async () => {
          const { axe } = window as unknown as { axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } };
          return (await axe.run()).violations;
        });
        return found.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`);
      };
      // Not by a script element: the page's policy would refuse it.
      await page.evaluate(readFileSync(AXE, 'utf8'));
      await rows(page).first().waitFor();
      expect(await serious()).toEqual([]);
      await rows(page).first().getByRole('button').first().click();
      await page.getByTestId('attempts').first().waitFor();
      expect(await serious()).toEqual([]);
      await page.getByRole('button', { name: 'Correct and retry' }).click();
      await page.getByRole('button', { name: 'Pause' }).click();
      await page.getByRole('dialog').waitFor();
      expect(await serious()).toEqual([]);
    });
  }

  test('it fits from 360 to 2,560 pixels', async () => {
    for (const width of WIDTHS) {
      const page = await open({ width });
      await rows(page).first().waitFor();
      const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth] as const);
      expect(needed, `at ${width}`).toBeLessThanOrEqual(given);
      await context.close();
    }
    await open();
  });

  for (const theme of ['light', 'dark'] as const) {
    test(`pictures, ${theme}`, async () => {
      const over = new AbortController();
      const load = (async () => {
        while (!over.signal.aborted) await stack.postAll(loans(40).map((good, index) => (index % 20 === 0 ? loan('bad score') : good)));
      })();
      for (const width of WIDTHS) {
        const page = await open({ isAdmin: true, width, height: width < 500 ? 780 : Math.round(width * 0.5625), theme });
        await rows(page).first().waitFor();
        await page.screenshot({ path: `${OUTPUT}${theme}-${width}.png` });
        await context.close();
      }
      over.abort();
      await load;
      await open();
    });
  }
});

describe('what is sent', () => {
  test('has the types that the page was written for', async () => {
    await open();
    const document: unknown = await (await fetch(`${stack.url}/openapi.json`)).json();
    const written = readFileSync(new URL('../src/api/schema.ts', import.meta.url), 'utf8');
    expect(written === (await schemaOf(document)), 'src/api/schema.ts is not of this service: npm run types').toBe(true);
  });

  test('is compressed, kept, under 150 kB in all, and under a strict policy', async () => {
    const page = await open();
    const sent = await page.evaluate(() =>
      [performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]
        .map((entry) => entry as PerformanceResourceTiming)
        // The page's own files, not what it asks the service.
        .filter((entry) => !entry.name.includes('/api/') && !entry.name.endsWith('/ws') && !entry.name.endsWith('/readyz'))
        .map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize] as const),
    );
    expect(sent.map(([path]) => path).filter((path) => path.endsWith('.js'))).toHaveLength(1);
    expect(sent.reduce((sum, [, size]) => sum + size, 0)).toBeLessThan(150_000);
    for (const [path] of sent) {
      const response = await fetch(stack.url + path, { headers: { 'accept-encoding': 'br' } });
      const policy = response.headers.get('content-security-policy') ?? '';
      expect(policy, path).toMatch(/default-src 'none'/);
      expect(policy, path).not.toMatch(/unsafe|http|\*/);
      expect(response.headers.get('cache-control'), path).toBe(path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-store');
      if (!path.endsWith('.woff2')) expect(response.headers.get('content-encoding'), path).toBe('br');
    }
  });
});
