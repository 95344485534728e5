export function schemaOf(document: unknown): Promise<string>;
