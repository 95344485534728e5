import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    target: 'es2022',
    // A strict Content-Security-Policy allows neither inline scripts nor data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    reportCompressedSize: false,
  },
  server: {
    // `npx vite` during development: pages from here, everything else from a running service.
    proxy: {
      '/api': process.env.SLUICE_SERVICE_URL ?? 'http://127.0.0.1:8080',
      '/ws': { target: process.env.SLUICE_SERVICE_URL ?? 'http://127.0.0.1:8080', ws: true },
    },
  },
});
