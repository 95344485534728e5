// The totals at a glance. What stands here is of the newest snapshot; when it is no longer live, it is dimmed.

import { Fragment, type ReactNode } from 'react';
import type { Snapshot } from '../api/types';
import { bytes, count, duration, latency, plural, rate, share } from '../format';
import { sum } from '../live/series';
import { useLive } from '../ui/store';

export function Totals() {
  const snapshot = useLive((state) => state.snapshot);
  const isLive = useLive((state) => state.connection.phase === 'live');
  return (
    <section
      aria-label="Totals"
      aria-busy={snapshot === null}
      className={`card grid grid-cols-2 overflow-hidden transition-opacity sm:grid-cols-3 md:grid-cols-4 xl:grid-cols-[repeat(7,minmax(0,1fr))_minmax(0,1.35fr)] ${isLive || snapshot === null ? '' : 'opacity-45'}`}
      data-testid="totals"
    >
      {snapshot === null ? <Skeletons /> : <Tiles snapshot={snapshot} />}
    </section>
  );
}

function Tiles({ snapshot }: { snapshot: Snapshot }) {
  const { counters, gauges, rates, latencyUs } = snapshot;
  const failed = sum(Object.values(counters.failed));
  const recorded = counters.recordedLoans + counters.recordedFailures;
  const rejected = sum(Object.values(counters.rejected));
  const oldest = gauges.oldestWaitingMs;
  return (
    <>
      <Tile name="ingested" label="Ingested" wide swatch="bg-ingested" value={rate(rates.admitted)} unit="/s">
        <Facts facts={[`${count(counters.admitted)} in all`, rejected > 0 && `${count(rejected)} refused`]} />
      </Tile>
      <Tile name="processed" label="Processed" swatch="bg-processed" value={rate(rates.processed)} unit="/s">
        {count(counters.processed)} in all
      </Tile>
      <Tile name="recorded" label="Recorded" swatch="bg-recorded" value={rate(rates.recorded)} unit="/s">
        <Facts facts={[`${count(recorded)} in all`, gauges.unrecorded > 0 && `${count(gauges.unrecorded)} to go`]} />
      </Tile>
      <Tile name="queued" label="Queued" swatch="bg-queue" value={count(gauges.queueDepth)}>
        {oldest > 0 && gauges.queueDepth > 0 ? `oldest waits ${duration(oldest / 1000)}` : gauges.inFlight > 0 ? `${count(gauges.inFlight)} in work` : 'none waits'}
      </Tile>
      <Tile name="workers" label="Workers" swatch="bg-workers" value={count(gauges.workers)} unit={`of ${count(gauges.workersMax)}`}>
        on {plural(Math.max(1, gauges.instances), 'instance')}
      </Tile>
      <Tile name="accepted" label="Accepted" value={count(counters.accepted)}>
        {counters.retried > 0 ? `${count(counters.retried)} retried` : `${share(counters.accepted, counters.processed)} of processed`}
      </Tile>
      <Tile name="failed" label="Failed" value={count(failed)} tone={failed > 0 ? 'text-bad' : ''}>
        {share(failed, counters.processed)} of processed
      </Tile>
      <div className="-ml-px flex flex-col justify-center gap-1.5 border-l border-line px-4 py-3 max-xl:-mt-px max-xl:border-t max-sm:col-span-2 sm:max-md:col-span-3">
        <Health name="Redis" isUp={snapshot.redis.up} version={snapshot.redis.version}>
          {bytes(snapshot.redis.usedMemoryBytes)}
        </Health>
        <Health name="MongoDB" isUp={snapshot.mongodb.up} version={snapshot.mongodb.version}>
          {latencyUs.record.count > 0 ? `writes ${latency(latencyUs.record.p50)}` : 'no writes yet'}
        </Health>
        <Health name="Service" isUp version={snapshot.version}>
          up {duration(snapshot.uptimeSeconds)}
        </Health>
      </div>
    </>
  );
}

interface TileProps {
  name: string;
  label: string;
  value: string;
  unit?: string;
  swatch?: string;
  tone?: string;
  /** Takes a whole row where there are two to a row. */
  wide?: boolean;
  children: ReactNode;
}

function Tile({ name, label, value, unit, swatch, tone = '', wide = false, children }: TileProps) {
  return (
    <div className={`-ml-px min-w-0 border-l border-line px-4 py-3 max-xl:-mt-px max-xl:border-t ${wide ? 'max-sm:col-span-2' : ''}`}>
      <div className="flex items-center gap-1.5 text-[0.8125rem] text-muted">
        {swatch !== undefined && <span className={`h-2.5 w-2.5 rounded-[3px] ${swatch}`} aria-hidden="true" />}
        {label}
      </div>
      <div className={`numeric mt-0.5 text-[1.75rem] whitespace-nowrap leading-9 font-semibold tracking-tight ${tone}`}>
        <span data-value={name}>{value}</span>
        {unit !== undefined && <span className="ml-1 text-base font-normal tracking-normal text-muted">{unit}</span>}
      </div>
      <div className="numeric text-[0.8125rem] text-muted">{children}</div>
    </div>
  );
}

/** Facts with commas between; where they have no room on one line, each stays whole and no line begins with a comma. */
function Facts({ facts }: { facts: readonly (string | false)[] }) {
  const told = facts.filter((fact) => fact !== false);
  return told.map((fact, index) => (
    <Fragment key={index}>
      <span className="inline-block">{index < told.length - 1 ? `${fact},` : fact}</span>{' '}
    </Fragment>
  ));
}

function Health({ name, isUp, version, children }: { name: string; isUp: boolean; version: string; children: ReactNode }) {
  return (
    <div className="flex items-baseline gap-2 text-[0.8125rem]">
      <span className={`size-2 shrink-0 rounded-full ${isUp ? 'bg-good' : 'bg-bad animate-[breathe_1.2s_ease-in-out_infinite]'}`} aria-hidden="true" />
      <span className="font-medium">{name}</span>
      {isUp ? <span className="sr-only">up</span> : <span className="font-semibold text-bad">down</span>}
      <span className="truncate text-muted xl:max-3xl:hidden" title={version}>{version}</span>
      <span className="numeric ml-auto whitespace-nowrap text-muted">{isUp && children}</span>
    </div>
  );
}

function Skeletons() {
  return (
    <>
      <span className="sr-only">Waiting for the first figures.</span>
      {Array.from({ length: 7 }, (_, index) => (
        <div key={index} className="-ml-px border-l border-line px-4 py-3 max-xl:-mt-px max-xl:border-t" aria-hidden="true">
          <div className="h-3.5 w-16 rounded bg-raised" />
          <div className="mt-2 h-7 w-20 animate-[breathe_1.6s_ease-in-out_infinite] rounded bg-raised" />
          <div className="mt-2 h-3.5 w-24 rounded bg-raised" />
        </div>
      ))}
    </>
  );
}
