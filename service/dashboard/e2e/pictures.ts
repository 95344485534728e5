// Takes the pictures of README from a running service, in both themes: npm run pictures -- LINK FOLDER

import { join } from 'node:path';
import { startBrowser } from './browser';
import { pause } from './stack';

const [link, folder] = process.argv.slice(3);
if (link === undefined || folder === undefined) throw new Error('which service, and where to?');

const browser = await startBrowser();
const pages = await Promise.all(
  (['light', 'dark'] as const).map(async (theme) => {
    const page = await browser.newPage({ viewport: { width: 1440, height: 960 }, colorScheme: theme });
    await page.goto(link);
    await page.getByText('1 min', { exact: true }).click();
    return { theme, page };
  }),
);
await pause(4_000);
for (const { theme, page } of pages) await page.screenshot({ path: join(folder, `dashboard-${theme}.png`) });
await browser.close();
