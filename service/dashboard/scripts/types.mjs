// Writes src/api/schema.ts from the API of the service that cargo has built; or of one that runs: npm run types -- http://127.0.0.1:8080
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { schemaOf } from './schema.mjs';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const built = () => execFileSync(path('../../../target/debug/service'), ['--openapi'], { encoding: 'utf8', maxBuffer: 1 << 24 });
const served = async (url) => (await fetch(`${url}/openapi.json`)).text();
const url = process.argv[2];
const document = JSON.parse(url === undefined ? built() : await served(url));
writeFileSync(path('../src/api/schema.ts'), await schemaOf(document));
