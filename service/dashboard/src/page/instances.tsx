// Who takes part: every instance with what its workers do, and every partition of the queue with its depth.

import { useEffect, useState, type ReactNode } from 'react';
import { fetchInstances, type Instance, type Partition } from '../api/operator';
import { count, duration, instant, plural, words } from '../format';
import { Dialog } from '../ui/dialog';
import { live } from '../ui/store';

const EVERY_MS = 2_000;

export function Instances({ className }: { className: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={className} onClick={() => setOpen(true)}>
        Instances
      </button>
      {isOpen && (
        <Dialog title="Instances and partitions" wide onClose={() => setOpen(false)}>
          <Lists />
        </Dialog>
      )}
    </>
  );
}

function Lists() {
  const [lists, setLists] = useState<{ instances: Instance[]; partitions: Partition[] } | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const ask = () => {
      fetchInstances(abort.signal).then(
        (found) => {
          setLists(found);
          setFault(null);
        },
        (error: unknown) => {
          if (!abort.signal.aborted) setFault(error instanceof Error ? error.message : 'The list cannot be read.');
        },
      );
    };
    ask();
    const timer = setInterval(ask, EVERY_MS);
    return () => {
      clearInterval(timer);
      abort.abort();
    };
  }, []);
  if (lists === null) return <p className="text-muted">{fault ?? 'Reading the list …'}</p>;
  return (
    <div className="flex flex-col gap-6" tabIndex={0} role="group" aria-label="Instances and partitions">
      {fault !== null && <p className="text-bad">{fault}</p>}
      <ul className="flex flex-col gap-3" data-testid="instances">
        {lists.instances.map((instance) => (
          <InstanceView key={instance.instance} instance={instance} />
        ))}
      </ul>
      <section>
        <h3 className="pb-1.5 font-medium">Partitions</h3>
        <ul className="flex flex-col gap-1" data-testid="partitions">
          {lists.partitions.map((partition) => (
            <li key={partition.partition} className="rounded-md bg-raised px-2.5 py-1.5">
              <Line name={`Partition ${partition.partition}`} isUp={partition.redisUp}>
                {count(partition.queueDepth)} queued{partition.oldestWaitingMs > 0 ? `, the oldest waits ${duration(partition.oldestWaitingMs / 1_000)}` : ''}, {count(partition.inFlight)} in work, {count(partition.unrecorded)} unrecorded,{' '}
                {count(partition.failedWaiting)} failed
              </Line>
            </li>
          ))}
        </ul>
      </section>
    </div>
  );
}

function InstanceView({ instance }: { instance: Instance }) {
  const now = live.nowMs();
  const busy = instance.doing.filter(({ state }) => state === 'processing');
  return (
    <li className="rounded-md bg-raised px-2.5 py-1.5">
      <Line name={instance.instance} isUp>
        {instance.roles.join(', ')}; version {instance.version}
        {instance.host === '' ? '' : ` on ${instance.host}`}; since {instant(Date.parse(instance.startedAt), now)}, last seen {instant(Date.parse(instance.seenAt), now)}
      </Line>
      <p className="numeric text-muted">
        {plural(instance.workers, 'worker')} of {count(instance.workersMax)}
        {busy.length === 0 ? ', none at work' : ''}
      </p>
      {busy.length > 0 && (
        <ul className="numeric text-[0.8125rem]">
          {busy.map(({ worker, state, loans, forMs, partition }) => (
            <li key={worker}>
              Worker {worker}: {words(state).toLowerCase()} {plural(loans, 'loan')} for {duration(forMs / 1_000)}
              {partition == null ? '' : `, partition ${partition}`}
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

function Line({ name, isUp, children }: { name: string; isUp: boolean; children: ReactNode }) {
  return (
    <p className="numeric wrap-anywhere">
      <span className="font-medium">{name}</span> {isUp ? '' : <span className="font-semibold text-bad">Redis does not answer </span>}
      <span className="text-muted">{children}</span>
    </p>
  );
}
