// What operators have changed, for good: who, from where, when, and what came of it.

import { useEffect, useState } from 'react';
import { fetchChanges } from '../api/client';
import type { ActivityEntry } from '../api/types';
import { instant, words } from '../format';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { live } from '../ui/store';

export function Changes() {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button small kind="ghost" onClick={() => setOpen(true)}>
        By operators …
      </Button>
      {isOpen && (
        <Dialog title="What operators have done" wide onClose={() => setOpen(false)}>
          <List />
        </Dialog>
      )}
    </>
  );
}

function List() {
  const [entries, setEntries] = useState<readonly ActivityEntry[]>([]);
  const [cursor, setCursor] = useState<string | null>(null);
  const [asked, setAsked] = useState<string | null>(null);
  const [isReading, setReading] = useState(true);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    setReading(true);
    fetchChanges(asked, abort.signal).then(
      (page) => {
        setEntries((known) => (asked === null ? page.entries : [...known, ...page.entries]));
        setCursor(page.nextCursor);
        setReading(false);
        setFault(null);
      },
      (error: unknown) => {
        if (abort.signal.aborted) return;
        setReading(false);
        setFault(error instanceof Error ? error.message : 'The list cannot be read.');
      },
    );
    return () => abort.abort();
  }, [asked]);
  return (
    <div tabIndex={0} role="group" aria-label="What operators have done" className="outline-none">
      {fault !== null && (
        <p role="alert" className="pb-2 text-bad">
          {fault}
        </p>
      )}
      {entries.length === 0 && fault === null ? (
        <p className="text-muted">{isReading ? 'Reading the list …' : 'Nobody has changed anything yet. Pauses, retries, corrections, discards and exports appear here.'}</p>
      ) : (
        <ol className="flex flex-col" data-testid="changes">
          {entries.map((entry) => (
            <li key={`${entry.at} ${entry.requestId} ${entry.effect}`} className="grid gap-x-4 border-b border-line py-2 last:border-b-0 sm:grid-cols-[minmax(0,1fr)_auto]">
              <span className="min-w-0 wrap-anywhere">
                <span className="font-medium">{words(entry.action)}</span> <span className="text-muted">{[entry.effect, entry.reason ?? ''].filter((text) => text !== '').join(': ')}</span>
              </span>
              <time className="numeric text-[0.8125rem] text-muted sm:text-right" dateTime={entry.at}>
                {instant(Date.parse(entry.at), live.nowMs())}
              </time>
              <span className="min-w-0 text-[0.8125rem] wrap-anywhere text-muted sm:col-span-2">
                {entry.name}
                {entry.address === '' ? '' : ` from ${entry.address}`}
              </span>
            </li>
          ))}
        </ol>
      )}
      {cursor !== null && (
        <div className="pt-3">
          <Button small reason={isReading ? 'Reading …' : null} onClick={() => setAsked(cursor)}>
            Older
          </Button>
        </div>
      )}
    </div>
  );
}
