// Measures the page in a real browser, against made-up figures: frames per second while it shows 30 minutes at 5,000
// loans a second, and memory over two hours of simulated time. Prints figures and asserts nothing.

import { startBrowser } from './browser';
import { Fake, flood } from './fake';
import { pause } from './stack';

const FRAMES_FOR_MS = 20_000;
const QUARTER_SECONDS = 900;
// Two hours: what fills in the first half hour is told from what never ends.
const QUARTERS = 8;
// `frames` or `memory` measures one of them.
const only = process.env.SLUICE_PERF ?? '';

const print = (text: string) => process.stdout.write(`${text}\n`);
const percentile = (sorted: readonly number[], share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

const browser = await startBrowser(['--enable-precise-memory-info', '--js-flags=--expose-gc']);

// Frames: half an hour of data, then snapshots at the real pace, with failures among them.
const sizes = [
  [1280, 900],
  [2560, 1440],
] as const;
for (const [width, height] of only === 'memory' ? [] : sizes) {
  for (const minutes of [1, 30]) {
    const fake = new Fake({ load: flood, pastSeconds: 1_800 });
    const url = await fake.listen();
    const timer = setInterval(() => fake.advance(200), 200);
    const page = await browser.newPage({ viewport: { width, height } });
    await page.goto(`${url}/?minutes=${minutes}`);
    await pause(3_000);
    const { frames, cpuShare } = await page.evaluate(async (forMs) => {
      const taken: number[] = [];
      let busyMs = 0;
      const observer = new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) busyMs += entry.duration;
      });
      observer.observe({ entryTypes: ['longtask'] });
      await new Promise<void>((resolve) => {
        const started = performance.now();
        let last = started;
        const frame = (now: number) => {
          taken.push(now - last);
          last = now;
          if (now - started < forMs) requestAnimationFrame(frame);
          else resolve();
        };
        requestAnimationFrame(frame);
      });
      return { frames: taken.slice(1), cpuShare: busyMs / forMs };
    }, FRAMES_FOR_MS);
    const sorted = [...frames].sort((a, b) => a - b);
    const total = frames.reduce((sum, ms) => sum + ms, 0);
    print(
      `${width}x${height}, ${minutes} min: ${((1_000 * frames.length) / total).toFixed(1)} frames/s, ` +
        `between frames p50 ${percentile(sorted, 0.5).toFixed(1)} p99 ${percentile(sorted, 0.99).toFixed(1)} max ${(sorted.at(-1) ?? 0).toFixed(1)} ms, ` +
        `${(100 * cpuShare).toFixed(1)} % of the time in tasks over 50 ms`,
    );
    clearInterval(timer);
    await page.close();
    fake.close();
  }
}

if (only === 'frames') {
  await browser.close();
  process.exit(0);
}

// Memory: two hours, five snapshots a second and failures, as fast as the page takes them.
const fake = new Fake({ load: flood, pastSeconds: 1_800, failureShare: 0.002 });
const url = await fake.listen();
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
const client = await page.context().newCDPSession(page);
const heap = async () => {
  await client.send('HeapProfiler.collectGarbage');
  const { usedSize } = await client.send('Runtime.getHeapUsage');
  const { documents, nodes, jsEventListeners } = await client.send('Memory.getDOMCounters');
  return `${(usedSize / 1e6).toFixed(2)} MB heap, ${documents} documents, ${nodes} nodes, ${jsEventListeners} listeners`;
};
await page.goto(`${url}/?minutes=30`);
await pause(2_000);
print(`memory at the begin: ${await heap()}`);
for (let quarter = 1; quarter <= QUARTERS; quarter += 1) {
  for (let tick = 0; tick < QUARTER_SECONDS * 5; tick += 1) {
    fake.advance(200);
    // A frame for each few: the page draws them.
    if (tick % 5 === 0) await pause(4);
  }
  await pause(1_500);
  print(`memory after ${quarter * 15} simulated minutes: ${await heap()}`);
}
await page.close();
fake.close();
await browser.close();
