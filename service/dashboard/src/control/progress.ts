// How far a task is, in words. Pure.

import type { Task } from '../api/operator';
import { count } from '../format';

const NAMES: Record<string, { running: string; done: string }> = {
  retry: { running: 'Queueing again', done: 'queued again' },
  discard: { running: 'Discarding', done: 'discarded' },
  export: { running: 'Exporting', done: 'rows written' },
};

/** Whether it is known how much there is to do: an export ends when there is nothing more. */
export function isCounted(task: Task): boolean {
  return task.kind !== 'export' || isOver(task);
}

export function isOver(task: Task): boolean {
  return task.phase !== 'running' && task.phase !== 'stopping';
}

/** `12,345 of 1,000,000 discarded, 3 skipped` */
export function progressText({ kind, done, skipped, remaining }: Task): string {
  const whole = kind === 'export' ? '' : ` of ${count(done + skipped + remaining)}`;
  const parts = [`${count(done)}${whole} ${NAMES[kind]?.done ?? 'done'}`];
  if (skipped > 0) parts.push(`${count(skipped)} ${kind === 'export' ? 'that cannot be read' : 'skipped'}`);
  return parts.join(', ');
}

/** What a task does, or how it ended. */
export function titleOf({ kind, phase }: Task): string {
  if (phase === 'running') return NAMES[kind]?.running ?? 'Working';
  return { stopping: 'Stopping', stopped: 'Stopped', done: 'Done', failed: 'Failed' }[phase];
}
