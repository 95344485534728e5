// The script of the load generator's report: one file without modules, which `loadgen` embeds in each report.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const home = fileURLToPath(new URL('report', import.meta.url));
// Each report holds a copy of uPlot, and so its licence.
const licence = readFileSync(new URL('node_modules/uplot/LICENSE', import.meta.url), 'utf8').trim();

export default defineConfig({
  root: home,
  publicDir: false,
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    reportCompressedSize: false,
    lib: { entry: 'src/main.ts', formats: ['iife'], name: 'report', fileName: () => 'live.js', cssFileName: 'live' },
  },
  plugins: [
    {
      // A report is XML too, where the script stands between CDATA marks: neither an end tag nor the end mark may be in it.
      name: 'one-page',
      generateBundle(_, bundle) {
        for (const file of Object.values(bundle)) {
          if (file.type !== 'chunk') continue;
          file.code = `/* With uPlot:\n${licence}\n*/\n${file.code}`;
          // `a[b[0]]>c` means the same with a space in it.
          file.code = file.code.replaceAll(']]>', ']] >');
          if (file.code.includes('</script')) this.error('the script holds an end tag');
        }
      },
    },
  ],
});
