// The shards of a Redis Cluster: one line each, so that the outage of one reads as that. Without a cluster nothing is here.

import type { Shard, Snapshot } from '../api/types';
import { bytes, count, duration, plural } from '../format';
import { useLive } from '../ui/store';

export function Shards() {
  const snapshot = useLive((state) => state.snapshot);
  const isLive = useLive((state) => state.connection.phase === 'live');
  if (snapshot?.redis.isCluster !== true) return null;
  // `relative`: words for screen readers alone are placed inside it, and scroll with it instead of widening the page.
  return (
    <section aria-labelledby="shards" className={`relative card min-w-0 overflow-x-auto transition-opacity ${isLive ? '' : 'opacity-45'}`} tabIndex={0} data-testid="shards">
      <table className="w-full text-left whitespace-nowrap">
        <caption className="px-4 pt-3 pb-1 text-left">
          <h2 id="shards" className="inline text-base font-semibold">
            Shards
          </h2>
          <span className="ml-2 text-[0.8125rem] text-muted">{replicasOf(snapshot)}</span>
        </caption>
        <thead className="text-[0.8125rem] text-muted">
          <tr>
            {['Master', 'Partitions', 'Queued', 'Oldest waits', 'To record', 'Memory', 'Durable'].map((name) => (
              <th key={name} scope="col" className="px-4 py-1 font-normal">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody className="numeric">
          {(snapshot.redis.shards ?? []).map((shard) => (
            <Line key={shard.address} shard={shard} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Line({ shard }: { shard: Shard }) {
  const cell = 'px-4 py-1.5';
  const dim = shard.up ? '' : 'text-muted';
  return (
    <tr className="border-t border-line" data-up={shard.up}>
      <th scope="row" className={`${cell} font-medium`} title={shard.trouble ?? undefined}>
        <span className={`mr-2 inline-block size-2 rounded-full ${shard.up ? 'bg-good' : 'bg-bad'}`} aria-hidden="true" />
        {shard.address}
        {shard.up ? <span className="sr-only">up</span> : <span className="ml-2 font-semibold text-bad">down</span>}
      </th>
      <td className={cell}>
        <div className="max-w-64 whitespace-normal">{shard.partitions.join(', ')}</div>
      </td>
      <td className={`${cell} ${dim}`}>{count(shard.queueDepth)}</td>
      <td className={`${cell} ${dim}`}>{shard.oldestWaitingMs > 0 ? duration(shard.oldestWaitingMs / 1000) : '–'}</td>
      <td className={`${cell} ${dim}`}>{count(shard.unrecorded)}</td>
      <td className={`${cell} ${dim}`}>{bytes(shard.usedMemoryBytes)}</td>
      <td className={cell}>{shard.durable ? 'yes' : <span className="font-semibold text-warn">no</span>}</td>
    </tr>
  );
}

/** How many replicas there are, and which of them do not answer. */
function replicasOf({ redis }: Snapshot): string {
  const replicas = redis.replicas ?? [];
  const silent = replicas.filter(({ up }) => !up).map(({ address }) => address);
  return `${plural(replicas.length, 'replica')}${silent.length > 0 ? `, of which ${silent.join(', ')} ${silent.length === 1 ? 'does' : 'do'} not answer` : ''}`;
}
