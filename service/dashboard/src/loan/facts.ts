// What became of a loan, as people write it. Names say what a value is, so a field that the service adds later is shown
// too. Pure.

import { basisPoints, count, instant, money, plural, words } from '../format';

export interface Fact {
  name: string;
  value: string;
  /** Is to be read letter by letter. */
  isCode: boolean;
}

export interface FactGroup {
  /** Empty for the loan itself. */
  title: string;
  facts: Fact[];
}

/** Their value says more than their name. */
const SAID_ELSEWHERE = new Set(['currency']);
const NAMES: Record<string, string> = { email: 'E-mail' };

/** The facts of a result; instants that the loan's steps tell are not told again. */
export function factsOf(result: Record<string, unknown>, toldInstants: ReadonlySet<number>): FactGroup[] {
  const currency = typeof result.currency === 'string' ? result.currency : '';
  const groupOf = (title: string, record: Record<string, unknown>): FactGroup => ({
    title,
    facts: Object.entries(record).flatMap(([name, value]): Fact[] => {
      if (value == null || isRecord(value) || (SAID_ELSEWHERE.has(name) && currency !== '')) return [];
      if (name.endsWith('At') && typeof value === 'string' && toldInstants.has(Date.parse(value))) return [];
      return [factOf(name, value, currency)];
      // What is read letter by letter stands below what is read.
    }).sort((a, b) => Number(a.isCode) - Number(b.isCode)),
  });
  const parts = Object.entries(result).filter((entry): entry is [string, Record<string, unknown>] => isRecord(entry[1]));
  return [groupOf('', result), ...parts.map(([name, part]) => groupOf(words(name), part))].filter(({ facts }) => facts.length > 0);
}

function factOf(name: string, value: unknown, currency: string): Fact {
  const told = (suffix: string, text: string, isCode = false): Fact => {
    const bare = name.slice(0, name.length - suffix.length);
    return { name: NAMES[bare] ?? words(bare), value: text, isCode };
  };
  if (typeof value === 'number') {
    if (name.endsWith('Minor')) return told('Minor', money(value, currency));
    if (name.endsWith('BasisPoints')) return told('BasisPoints', basisPoints(value));
    if (name.endsWith('Months')) return told('Months', plural(value, 'month'));
    if (name.endsWith('Years')) return told('Years', plural(value, 'year'));
    return told('', count(value));
  }
  if (name.endsWith('At') && typeof value === 'string' && !Number.isNaN(Date.parse(value))) return told('', instant(Date.parse(value), 0));
  if (name === 'decision' && typeof value === 'string') return told('', words(value));
  if (typeof value === 'boolean') return told('', value ? 'Yes' : 'No');
  return told('', typeof value === 'string' ? value : JSON.stringify(value), name === 'fingerprint');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
