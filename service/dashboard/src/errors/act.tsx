// Acts on the rows that are chosen, or on all that the filters find: says first how many, and asks.

import { useEffect, useState } from 'react';
import { countFailures, filterOf, makeExport, startTask, type ActionKind, type FailureCount, type Target } from '../api/operator';
import { ApiError } from '../api/client';
import { asAdmin } from '../control/actions';
import { refusal } from '../control/session';
import { count, plural } from '../format';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { useSession } from '../ui/store';
import { isFiltered, type Filters } from './filters';

interface Props {
  filters: Filters;
  selected: ReadonlySet<string>;
  onClear: () => void;
}

export function Actions({ filters, selected, onClear }: Props) {
  const reason = refusal(useSession());
  const [asked, setAsked] = useState<ActionKind | null>(null);
  const isChosen = selected.size > 0;
  const target: Target = isChosen ? { loanIds: [...selected] } : { filter: filterOf(filters) };
  const save = async (format: 'csv' | 'ndjson') => {
    const ticket = await asAdmin((token) => makeExport(format, filterOf(filters), token));
    if (ticket !== null) location.assign(ticket.href);
  };
  return (
    <div role="group" aria-label="Act on failed loans" className="flex flex-wrap items-center gap-2 pt-3">
      <span className="numeric text-[0.8125rem] text-muted" role="status">
        {isChosen ? `${plural(selected.size, 'loan')} chosen` : isFiltered(filters) ? 'All that match' : 'All failed loans'}
      </span>
      {isChosen && (
        <Button small kind="ghost" icon="close" title="Choose none" onClick={onClear}>
          <span className="sr-only">Choose none</span>
        </Button>
      )}
      <span className="ml-auto flex flex-wrap gap-2">
        <Button small icon="retry" reason={reason} onClick={() => setAsked('retry')}>
          Retry …
        </Button>
        <Button small icon="close" reason={reason} onClick={() => setAsked('discard')}>
          Discard …
        </Button>
        <Button small reason={reason ?? (isChosen ? 'Export takes all that the filters find' : null)} onClick={() => void save('csv')}>
          CSV
        </Button>
        <Button small reason={reason ?? (isChosen ? 'Export takes all that the filters find' : null)} onClick={() => void save('ndjson')}>
          NDJSON
        </Button>
      </span>
      {asked !== null && (
        <Ask
          kind={asked}
          target={target}
          onDone={() => {
            setAsked(null);
            onClear();
          }}
          onClose={() => setAsked(null)}
        />
      )}
    </div>
  );
}

const REASON_MAX = 500;

/** Shows how many loans it is about before it does anything. */
export function Ask({ kind, target, onDone, onClose }: { kind: ActionKind; target: Target; onDone: () => void; onClose: () => void }) {
  const [found, setFound] = useState<FailureCount | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const [reason, setReason] = useState('');
  const [isBusy, setBusy] = useState(false);
  const asked = JSON.stringify(target);
  useEffect(() => {
    const wanted = JSON.parse(asked) as Target;
    if ('loanIds' in wanted) {
      const number = wanted.loanIds.length;
      setFound({ attempts: number, loans: number, waiting: number, isExact: true });
      return;
    }
    const abort = new AbortController();
    countFailures(wanted.filter, abort.signal).then(setFound, (error: unknown) => {
      if (!abort.signal.aborted) setFault(error instanceof Error ? error.message : 'The loans cannot be counted.');
    });
    return () => abort.abort();
  }, [asked]);
  const needsReason = kind === 'discard';
  const off = found === null ? (fault ?? 'Counting …') : found.waiting === 0 ? 'No failed loan waits' : needsReason && reason.trim() === '' ? 'Give a reason' : isBusy ? 'Working …' : null;
  const verb = kind === 'retry' ? 'Retry' : 'Discard';
  const only = 'loanIds' in target && target.loanIds.length === 1 ? target.loanIds[0] : undefined;
  const number = found === null ? '' : (only ?? `${found.isExact ? '' : 'at least '}${plural(found.waiting, 'failed loan')}`);
  const submit = async () => {
    if (found === null) return;
    setBusy(true);
    const task = await asAdmin((token) =>
      startTask({ ...target, kind, expected: found.waiting, ...(needsReason ? { reason: reason.trim() } : {}) }, token).catch((error: unknown) => {
        // More have failed since they were counted: what is confirmed next is the new number.
        const number = error instanceof ApiError ? error.found : null;
        if (number !== null) setFound({ ...found, waiting: number, isExact: true });
        throw error;
      }),
    );
    setBusy(false);
    if (task !== null) onDone();
  };
  return (
    <Dialog title={`${verb} failed loans?`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (off === null) void submit();
        }}
      >
        <p role="status" className="numeric text-lg font-semibold" data-testid="affected">
          {fault ?? (found === null ? 'Counting …' : only === undefined ? number.charAt(0).toUpperCase() + number.slice(1) : number)}
        </p>
        <p className="mt-1 text-muted">
          {kind === 'retry'
            ? 'They will be queued and processed again, unchanged. Without a change of the rules or of the data they fail again.'
            : 'They will not be processed any more. They stay in the record as discarded, with your reason, and their ids stay taken. This cannot be undone.'}
        </p>
        {needsReason && (
          <label className="mt-4 block font-medium">
            Reason
            <textarea className="field mt-1.5 h-20! w-full resize-y py-2! font-normal" data-focus="" maxLength={REASON_MAX} value={reason} onChange={(event) => setReason(event.target.value)} />
          </label>
        )}
        <div className="mt-5 flex justify-end gap-2">
          <Button {...(needsReason ? {} : { 'data-focus': '' })} onClick={onClose}>
            Cancel
          </Button>
          <Button kind={kind === 'discard' ? 'danger' : 'primary'} type="submit" reason={off}>
            {verb} {found === null ? '' : count(found.waiting)}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
