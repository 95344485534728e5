// Runs a TypeScript file: Node 20 does not by itself.
import { runnerImport } from 'vite';

await runnerImport(process.argv[2], { configFile: false, logLevel: 'error' });
