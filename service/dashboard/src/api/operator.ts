// The calls of an operator's work on many loans.

import { call } from './client';
import type { FailureCount, FailureFilter, Instance, Partition, Task } from './types';
import { instantMs, type Filters } from '../errors/filters';

export type { FailureCount, Instance, Partition, Task } from './types';

export type ActionKind = 'retry' | 'discard';

/** Which loans: those named, or whatever a filter finds. */
export type Target = { loanIds: readonly string[] } | { filter: FailureFilter };

export function filterOf(filters: Filters): FailureFilter {
  const { from, to, ...texts } = filters;
  const set = Object.entries(texts).filter(([, text]) => text !== '');
  return {
    ...Object.fromEntries(set),
    ...(from === '' ? {} : { from: new Date(instantMs(from)).toISOString() }),
    ...(to === '' ? {} : { to: new Date(instantMs(to)).toISOString() }),
  };
}

export function countFailures(filter: FailureFilter, signal: AbortSignal): Promise<FailureCount> {
  const set = Object.entries(filter).filter((entry): entry is [string, string | boolean] => entry[1] != null);
  const query = new URLSearchParams(set.map(([name, value]) => [name, String(value)]));
  return call(`/api/errors/count?${query.toString()}`, { signal });
}

export function startTask(request: Target & { kind: ActionKind; reason?: string; expected: number }, token: string): Promise<Task> {
  return call('/api/tasks', { method: 'POST', token, body: request });
}

export function stopTask(taskId: string, token: string): Promise<Task> {
  return call(`/api/tasks/${encodeURIComponent(taskId)}/stop`, { method: 'POST', token });
}

/** A ticket for one download: a link carries no token. */
export function makeExport(format: 'csv' | 'ndjson', filter: FailureFilter, token: string): Promise<{ href: string }> {
  return call('/api/exports', { method: 'POST', token, body: { of: 'errors', format, filter } });
}

export function fetchInstances(signal: AbortSignal): Promise<{ instances: Instance[]; partitions: Partition[] }> {
  return call('/api/instances', { signal });
}
