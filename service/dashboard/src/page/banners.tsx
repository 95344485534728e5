// What is not as it should be, loud, one line each. When all is well nothing is here.

import type { ReactNode } from 'react';
import { sentence } from '../api/client';
import { Button } from '../ui/button';
import { Icon } from '../ui/icons';
import { resume } from '../control/actions';
import { refusal } from '../control/session';
import type { Snapshot } from '../api/types';
import { clock, instant, plural } from '../format';
import { useRefusal } from '../live/refusal';
import { buildOf } from '../live/store';
import { live, useLive, useSession } from '../ui/store';

/** What has a banner with more to say; all else is told in the service's words. */
const HAS_ITS_OWN = new Set(['redis', 'mongodb', 'durability', 'rollback']);

export function Banners() {
  const { snapshot, connection, events, firstVersion } = useLive((state) => state);
  const session = useSession();
  const degraded = snapshot?.degraded ?? [];
  const since = (what: string): string => {
    const found = degraded.find((other) => other.what === what);
    return found === undefined ? '' : `Since ${instant(Date.parse(found.since), live.nowMs())}.`;
  };
  const isLost = connection.phase === 'waiting' || connection.phase === 'stale' || (connection.phase === 'connecting' && connection.failures > 0);
  const refused = useRefusal(isLost);
  const pausedAt = events.findLast((event) => event.kind === 'pause' || event.kind === 'resume');
  const isDurable = snapshot === null || snapshot.redis.durable || snapshot.redis.appendfsync === '';
  const loginMessage = session.phase === 'anonymous' ? session.message : null;
  return (
    <div className="empty:hidden" role="region" aria-label="Notices" aria-live="polite">
      {isLost && (
        <Banner kind="bad">
          {refused !== null ? `The service refuses this page. ${refused}` : connection.phase === 'stale' ? 'The service is silent.' : 'The service cannot be reached.'}{' '}
          {snapshot === null ? 'There are no figures yet.' : `The figures are of ${clock(snapshot.atMs)} and no longer live.`}
        </Banner>
      )}
      {snapshot !== null && !isLost && (
        <>
          {!snapshot.redis.up && <Banner kind="bad">Redis does not answer. Loans cannot be admitted; requests are answered 503 and must be sent again. {since('redis')}</Banner>}
          {!snapshot.mongodb.up && (
            <Banner kind="bad">MongoDB does not answer. Loans are admitted and processed; results wait in Redis until it is back. {since('mongodb')}</Banner>
          )}
          {!isDurable && (
            <Banner kind="warn">
              A crash{snapshot.redis.isCluster === true ? ' or a failover' : ''} may lose loans that were answered 202. {weaknessesOf(snapshot)} {since('durability')}
            </Banner>
          )}
          {snapshot.counters.rolledBack !== undefined && snapshot.counters.rolledBack > 0 && (
            <Banner kind="bad">
              Redis has lost {plural(snapshot.counters.rolledBack, 'admission')} that it had confirmed: loans that were answered 202 may be gone. The log says
              which partitions. {since('rollback')}
            </Banner>
          )}
          {degraded
            .filter(({ what }) => !HAS_ITS_OWN.has(what))
            .map(({ what, detail }) => (
              <Banner key={what} kind="warn">
                {sentence(detail)} {since(what)}
              </Banner>
            ))}
          {snapshot.gauges.paused && (
            <Banner
              kind="warn"
              action={
                <Button small reason={refusal(session)} onClick={() => void resume()}>
                  Resume
                </Button>
              }
            >
              Ingestion is paused{pausedAt?.kind === 'pause' ? ` since ${instant(pausedAt.atMs, live.nowMs())}` : ''}. New requests are answered 503; queued loans
              are still processed.
            </Banner>
          )}
          {firstVersion !== null && firstVersion !== buildOf(snapshot) && (
            <Banner
              kind="info"
              action={
                <Button small onClick={() => location.reload()}>
                  Load again
                </Button>
              }
            >
              The service was updated. This page is of the version before.
            </Banner>
          )}
        </>
      )}
      {loginMessage !== null && <Banner kind="warn">{loginMessage}</Banner>}
    </div>
  );
}

/** At most three settings in words: the nodes of a cluster may all lack the same one. */
function weaknessesOf({ redis }: Snapshot): string {
  const all = redis.weaknesses ?? [];
  if (all.length === 0) return `Redis runs with appendfsync ${redis.appendfsync}: set appendonly yes and appendfsync always.`;
  const rest = all.length > 3 ? `; ${plural(all.length - 3, 'more setting')}` : '';
  return `${all.slice(0, 3).join('; ')}${rest}.`;
}

const LOOKS = {
  bad: { colour: 'bg-bad-soft text-bad', icon: 'bad' },
  warn: { colour: 'bg-warn-soft text-warn', icon: 'warn' },
  info: { colour: 'bg-accent-soft text-accent', icon: 'retry' },
} as const;

function Banner({ kind, action, children }: { kind: keyof typeof LOOKS; action?: ReactNode; children: ReactNode }) {
  const { colour, icon } = LOOKS[kind];
  return (
    <div className={`flex items-start gap-3 border-b border-line px-3 py-2 font-medium sm:px-5 3xl:px-8 ${colour}`} data-banner={kind}>
      <Icon name={icon} className="size-5" />
      <p className="min-w-0 flex-1 wrap-anywhere">{children}</p>
      {action}
    </div>
  );
}
