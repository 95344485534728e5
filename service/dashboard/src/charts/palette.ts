// The colours of the charts: they stand in the style sheet, one set for each theme.

const NAMES = [
  'ingested',
  'processed',
  'recorded',
  'recorded-fill',
  'queue',
  'queue-fill',
  'workers',
  'admit',
  'end-to-end',
  'client',
  'grid',
  'axis',
  'ink',
  'surface',
  'muted',
  'bad',
  'warn',
  'good',
  'phase',
  'mark',
  'hatch',
] as const;

export type Palette = Record<(typeof NAMES)[number], string>;

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--c-${name}`).trim()])) as Palette;
}
