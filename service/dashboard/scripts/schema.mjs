// The API's document as TypeScript.
import openapiTS, { astToString } from 'openapi-typescript';

const HEAD = '// Made from /openapi.json by `npm run types`, which the service makes from its Rust types. Do not edit.\n\n';

export async function schemaOf(document) {
  return HEAD + astToString(await openapiTS(document, { alphabetize: true, defaultNonNullable: true }));
}
