// Builds the pages into dist/ and puts a brotli and a gzip copy beside each file, which the service embeds.
// Fails when what a browser loads grows beyond the budget.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'vite';

const BUDGET_BYTES = 150_000;
const home = fileURLToPath(new URL('..', import.meta.url));
const dist = join(home, 'dist');

await build({ root: home, logLevel: 'warn' });
// The load generator's report has its own, which stands in no page of the service.
await build({ configFile: join(home, 'vite.report.config.ts'), logLevel: 'warn' });

// What is shipped stands under licences that want to be shipped with it.
const SHIPPED = ['react', 'react-dom', 'scheduler', 'uplot', 'tailwindcss', '@fontsource-variable/geist'];
writeFileSync(join(dist, 'licences.txt'), SHIPPED.map(licenceOf).join('\n\n'));

function licenceOf(name) {
  const folder = join(home, 'node_modules', name);
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`${name} has no licence file`);
  return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
}

const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .sort();

let total = 0;
for (const file of files) {
  const plain = readFileSync(file);
  let sent = plain.length;
  // Fonts are compressed already.
  if (!file.endsWith('.woff2')) {
    const brotli = brotliCompressSync(plain, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
    });
    writeFileSync(`${file}.br`, brotli);
    writeFileSync(`${file}.gz`, gzipSync(plain, { level: 9 }));
    sent = brotli.length;
  }
  const isLoaded = !file.endsWith('.txt');
  if (isLoaded) total += sent;
  console.log(`${String(statSync(file).size).padStart(8)} ${String(sent).padStart(8)}  ${relative(dist, file)}`);
}
console.log(`${String(total).padStart(17)}  bytes in all, compressed; the budget is ${BUDGET_BYTES}`);
if (total > BUDGET_BYTES) {
  console.error('the pages are larger than their budget');
  process.exit(1);
}
