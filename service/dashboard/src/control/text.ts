import type { RetryResult } from '../api/types';
import { count, plural } from '../format';

/** `320 loans queued again, 2 skipped, 18 left.` */
export function retryText({ requeued, skipped, remaining }: RetryResult): string {
  const parts = [`${plural(requeued, 'loan')} queued again`];
  if (skipped > 0) parts.push(`${count(skipped)} skipped: not failed, or being processed`);
  if (remaining > 0) parts.push(`${count(remaining)} failed loans left`);
  return `${parts.join('; ')}.`;
}
