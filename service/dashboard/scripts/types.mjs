// Writes src/api/schema.ts from the API that the service publishes: npm run types -- http://127.0.0.1:8080
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { schemaOf } from './schema.mjs';

const url = process.argv[2] ?? 'http://127.0.0.1:8080';
const target = fileURLToPath(new URL('../src/api/schema.ts', import.meta.url));
writeFileSync(target, await schemaOf(await (await fetch(`${url}/openapi.json`)).json()));
