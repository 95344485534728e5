// Every figure of a snapshot in words: a counter that the service adds later is told without a change here. Pure.

import type { Snapshot } from '../api/types';
import { bytes, count, duration, latency, words } from '../format';

export interface FigureGroup {
  title: string;
  figures: { name: string; value: string }[];
}

/** The groups of a snapshot, in its order; what is no figure is left out, and so are lists. */
export function figuresOf(snapshot: Snapshot): FigureGroup[] {
  const groups: FigureGroup[] = [];
  const add = (title: string, record: object, unit: Unit | null): void => {
    const figures = Object.entries(record).flatMap(([name, value]) => {
      const text = textOf(name, value, unit ?? unitOf(name));
      return text === null ? [] : [{ name: nameOf(name), value: text }];
    });
    if (figures.length > 0) groups.push({ title, figures });
    for (const [name, part] of Object.entries(record) as [string, unknown][]) {
      if (part === null || typeof part !== 'object' || Array.isArray(part)) continue;
      const own = nameOf(name);
      add(title === '' ? own : `${title}: ${own.toLowerCase()}`, part, unit ?? unitOf(name));
    }
  };
  add('', snapshot, null);
  // What stands beside the groups says when and of whom it is, and is told elsewhere.
  return groups.filter(({ title }) => title !== '');
}

type Unit = 'Us' | 'Ms' | 'Bytes' | 'Seconds';
const UNITS: readonly Unit[] = ['Us', 'Ms', 'Bytes', 'Seconds'];

function unitOf(name: string): Unit | null {
  return UNITS.find((unit) => name.endsWith(unit)) ?? null;
}

function nameOf(name: string): string {
  if (/^p\d+$/.test(name)) return name === 'p999' ? 'p99.9' : name;
  const unit = unitOf(name);
  return words(unit === null ? name : name.slice(0, -unit.length));
}

function textOf(name: string, value: unknown, unit: Unit | null): string | null {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return value === '' ? null : value;
  if (typeof value !== 'number') return null;
  if (unit === 'Us' && name !== 'count') return latency(value);
  if (unit === 'Ms') return duration(value / 1_000);
  if (unit === 'Bytes') return bytes(value);
  if (unit === 'Seconds') return duration(value);
  return count(value);
}
