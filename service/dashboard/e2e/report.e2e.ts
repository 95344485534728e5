// The load generator's report in a real browser: made-up reports of every sort, opened from disk.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startBrowser } from './browser';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const NAMES = ['passed', 'failed', 'aborted', 'discarded', 'empty', 'hour'] as const;
type Name = (typeof NAMES)[number];

let folder: string;
let browser: Browser;
let context: BrowserContext | undefined;
/** What went wrong on a page: nothing may. */
let complaints: string[] = [];

/** The program that writes reports of every sort. */
function sample(): string {
  const target = process.env.CARGO_TARGET_DIR ?? join(PROJECT, 'target');
  const path = ['debug', 'release'].map((profile) => join(target, profile, 'examples', 'report_sample')).find(existsSync);
  if (path === undefined) throw new Error('no sample of the report: run make test, or cargo build -p loadgen --example report_sample');
  return path;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-report-'));
  execFileSync(sample(), [folder]);
  browser = await startBrowser();
});

afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

afterEach(async () => {
  await context?.close();
  const found = complaints;
  complaints = [];
  expect(found).toEqual([]);
});

interface Options {
  width?: number;
  theme?: 'light' | 'dark';
  scripts?: boolean;
}

async function open(name: Name | 'index', { width = 1100, theme = 'light', scripts = true }: Options = {}): Promise<Page> {
  context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, javaScriptEnabled: scripts });
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('request', (request) => {
    if (!request.url().startsWith('file:')) complaints.push(`a request to ${request.url().slice(0, 100)}`);
  });
  const path = name === 'index' ? 'index.html' : `runs/${name}/report.html`;
  await page.goto(pathToFileURL(join(folder, path)).href);
  return page;
}

const reading = (page: Page, section: string) => page.locator(`#${section} .reading`).innerText();

describe('every report', () => {
  for (const name of NAMES) {
    test(`${name}: loads nothing, complains of nothing, fits every width`, async () => {
      for (const width of [360, 1100]) {
        const page = await open(name, { width });
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
        await context?.close();
      }
    });

    test(`${name}: is whole without a script`, async () => {
      const page = await open(name, { scripts: false });
      expect(await page.locator('h1').innerText()).toMatch(/Passed|Failed|Aborted|Discarded/);
      const charts = await page.locator('.static svg:visible').count();
      expect(charts).toBe(name === 'empty' ? 0 : 3);
    });

    test(`${name}: has nothing that axe finds`, async () => {
      for (const theme of name === 'failed' ? (['light', 'dark'] as const) : (['dark'] as const)) {
        const page = await open(name, { theme });
        // The page's own policy forbids to add a script element; the debugger may evaluate one.
        await page.evaluate(readFileSync(AXE, 'utf8'));
        const found = await page.evaluate(async () => {
          const { axe } = globalThis as unknown as { axe: { run: () => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } };
          const { violations } = await axe.run();
          return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`);
        });
        expect(found).toEqual([]);
        await context?.close();
      }
    });
  }
});

describe('the charts', () => {
  test('show what the cursor is on, all at the same instant', async () => {
    const page = await open('failed');
    expect(await page.locator('.live').count()).toBe(3);
    const plot = page.locator('#time .u-over').first();
    await plot.scrollIntoViewIfNeeded();
    const box = await plot.boundingBox();
    if (!box) throw new Error('the chart has no size');
    // The run has 46 seconds; its fault struck at 21.3 s.
    await page.mouse.move(box.x + (box.width * 21.6) / 46, box.y + 60);
    expect(await reading(page, 'time')).toBe('21 s, phase bursts; Redis killed, restarted after 400 ms');
    const legends = await page.locator('#time .u-legend').allInnerTexts();
    expect(legends.map((text) => text.replace(/\s+/g, ' ')).join(' ')).toMatch(/sent ?500\/s.*p99 ?38\.0 ms.*workers ?5/);
  });

  test('zoom by dragging, all together, and back', async () => {
    const page = await open('hour');
    const plot = page.locator('#time .u-over').first();
    await plot.scrollIntoViewIfNeeded();
    const box = await plot.boundingBox();
    if (!box) throw new Error('the chart has no size');
    await page.mouse.move(box.x + box.width * 0.5, box.y + 60);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 60, { steps: 4 });
    await page.mouse.up();
    const all = page.locator('#time .all');
    expect(await all.isVisible()).toBe(true);
    // The heat map follows.
    expect(await page.locator('#heat .all').isVisible()).toBe(true);
    await all.click();
    expect(await all.isVisible()).toBe(false);
    expect(await page.locator('#heat .all').isVisible()).toBe(false);
  });

  test('can be read with the keyboard alone, and aloud', async () => {
    const page = await open('failed');
    await page.locator('#time .livebody').focus();
    for (let step = 0; step < 3; step += 1) await page.keyboard.press('ArrowRight');
    expect(await page.locator('#time .spoken').innerText()).toBe('2 s, phase warm-up');
    await page.keyboard.press('+');
    expect(await page.locator('#time .all').isVisible()).toBe(true);
    await page.keyboard.press('Escape');
    expect(await page.locator('#time .all').isVisible()).toBe(false);
    await page.locator('#latency .livebody').focus();
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('#latency .spoken').innerText()).toMatch(/^0 % of the requests within: response \d+ µs, service \d+ µs, end to end/);
    await page.locator('#heat .livebody').focus();
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('#heat .spoken').innerText()).toMatch(/^0 s: \d+ of 95 answers \(\d+ %\) took/);
  });

  test('are printed as drawings', async () => {
    const page = await open('failed');
    await page.emulateMedia({ media: 'print' });
    expect(await page.locator('.live:visible').count()).toBe(0);
    expect(await page.locator('.static svg.wide:visible').count()).toBe(3);
  });
});

test('on a phone the checks are read without scrolling sideways, and what is wider shows a shade', async () => {
  for (const name of ['passed', 'failed'] as const) {
    const page = await open(name, { width: 390 });
    // A row as long as those of the shipped scenarios.
    await page.locator('#checks tbody tr').first().evaluate((row) => {
      ['end_to_end_ms.p99, redis_memory_growth_ratio', '✗ fail', '2,424.831 ms', 'at most 1,000 ms'].forEach((text, index) => {
        const cell = row.children[index];
        if (cell !== undefined) cell.textContent = text;
      });
    });
    const tables = await page.locator('.scroll').evaluateAll((found) =>
      found.map((table) => ({ name: table.getAttribute('aria-label'), isWider: table.scrollWidth > table.clientWidth, shades: getComputedStyle(table).backgroundAttachment })),
    );
    expect(tables.find((table) => table.name === 'Checks of the scenario')).toMatchObject({ isWider: false });
    expect(tables.some(({ isWider }) => isWider)).toBe(true);
    for (const { shades } of tables) expect(shades).toBe('local, local, scroll, scroll');
    await context?.close();
  }
});

test('the list of runs leads to each report', async () => {
  const page = await open('index');
  const link = page.locator('#runs tbody a').first();
  await link.click();
  expect(await page.locator('h1').count()).toBe(1);
  expect(page.url()).toContain('/report.html');
});
