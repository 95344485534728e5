// What happened, newest first: scaling steps with their reasons, pauses, retries, a run's phases and verdict.

import type { LiveEvent } from '../api/types';
import { count, instant, plural, words } from '../format';
import { Icon, type IconName } from '../ui/icons';
import { live, useLive } from '../ui/store';
import { Changes } from './changes';

const SHOWN_MAX = 60;

export function Activity() {
  const events = useLive((state) => state.events);
  const shown = events.slice(-SHOWN_MAX).reverse();
  return (
    <section aria-labelledby="activity" className="card flex h-60 min-h-0 min-w-0 flex-col 3xl:h-auto 3xl:flex-1">
      <div className="flex items-baseline justify-between gap-3 px-4 pt-3 pb-2">
        <h2 id="activity" className="text-base font-semibold">
          Activity
        </h2>
        <Changes />
      </div>
      {shown.length === 0 ? (
        <p className="px-4 pb-4 text-muted">Nothing yet. Scaling steps, pauses, retries and load runs appear here.</p>
      ) : (
        <ol className="min-h-0 flex-1 overflow-y-auto pb-2" tabIndex={0} aria-label="Activity, newest first">
          {shown.map((event) => (
            <Entry key={`${event.atMs} ${textOf(event)}`} event={event} />
          ))}
        </ol>
      )}
    </section>
  );
}

function Entry({ event }: { event: LiveEvent }) {
  const { icon, tone } = lookOf(event);
  return (
    <li className="flex items-start gap-2.5 px-4 py-1.5">
      <Icon name={icon} className={`mt-0.5 ${tone}`} />
      <span className="min-w-0 flex-1 wrap-anywhere">{textOf(event)}</span>
      <time className="numeric shrink-0 text-[0.8125rem] text-muted" dateTime={new Date(event.atMs).toISOString()}>
        {instant(event.atMs, live.nowMs())}
      </time>
    </li>
  );
}

function lookOf(event: LiveEvent): { icon: IconName; tone: string } {
  switch (event.kind) {
    case 'scale':
      return event.to > event.from ? { icon: 'up', tone: 'text-workers' } : { icon: 'down', tone: 'text-muted' };
    case 'pause':
      return { icon: 'pause', tone: 'text-warn' };
    case 'resume':
      return { icon: 'play', tone: 'text-good' };
    case 'retry':
      return { icon: 'retry', tone: 'text-accent' };
    case 'rolledBack':
      return { icon: 'bad', tone: 'text-bad' };
    case 'discard':
      return { icon: 'close', tone: 'text-warn' };
    case 'run':
      if (event.marker === 'end') return event.verdict === 'pass' ? { icon: 'good', tone: 'text-good' } : { icon: 'bad', tone: 'text-bad' };
      return { icon: 'flag', tone: event.marker === 'fault' ? 'text-bad' : 'text-accent' };
    default:
      return { icon: 'flag', tone: 'text-muted' };
  }
}

function by(name: string | null | undefined): string {
  return name == null || name === '' ? '' : ` by ${name}`;
}

function textOf(event: LiveEvent): string {
  switch (event.kind) {
    case 'scale':
      return `Workers ${count(event.from)} → ${count(event.to)}: ${event.reason}`;
    case 'pause':
      return `Ingestion paused${by(event.by)}`;
    case 'resume':
      return `Ingestion resumed${by(event.by)}`;
    case 'rolledBack':
      return `Redis has lost ${plural(event.admissions, 'confirmed admission')} of partition ${count(event.partition)}`;
    case 'retry':
      return `${plural(event.requeued, 'failed loan')} queued again${by(event.by)}`;
    case 'discard':
      return `${plural(event.discarded, 'failed loan')} discarded${by(event.by)}`;
    case 'run':
      if (event.marker === 'start') return `Load run of ${event.scenario} begins`;
      if (event.marker === 'phase') return `Phase ${event.name ?? ''}`;
      if (event.marker === 'fault') return `Fault: ${event.name ?? ''}`;
      return `Load run of ${event.scenario} ends: ${event.verdict ?? 'no verdict'}`;
    default:
      return plainTextOf(event);
  }
}

/** A kind of event that a later service tells of: its name and whatever it says. */
export function plainTextOf(event: LiveEvent): string {
  const told = Object.entries(event).flatMap(([name, value]) => {
    if (name === 'kind' || name === 'atMs') return [];
    if (typeof value === 'number') return [`${words(name).toLowerCase()} ${count(value)}`];
    return typeof value === 'string' && value !== '' ? [`${words(name).toLowerCase()} ${value}`] : [];
  });
  return told.length === 0 ? words(event.kind) : `${words(event.kind)}: ${told.join(', ')}`;
}
