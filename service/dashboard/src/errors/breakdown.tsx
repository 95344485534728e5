// Failures by type and by applicant, as bars: what fails most, and for whom.

import { useState } from 'react';
import { retryLoans } from '../control/actions';
import { Confirm } from '../control/confirm';
import { refusal } from '../control/session';
import { count, plural, share, words } from '../format';
import { sum } from '../live/series';
import { Button } from '../ui/button';
import { Middle } from '../ui/middle';
import { useLive, useSession } from '../ui/store';

interface Props {
  errorType: string;
  onErrorType: (errorType: string) => void;
}

export function Breakdown({ errorType, onErrorType }: Props) {
  const failed = useLive((state) => state.snapshot?.counters.failed);
  const waiting = useLive((state) => state.snapshot?.gauges.failedWaiting ?? 0);
  const applicants = useLive((state) => state.snapshot?.counters.failedByApplicant);
  const reason = refusal(useSession()) ?? (waiting === 0 ? 'No failed loan waits' : null);
  const [asked, setAsked] = useState<string | null>(null);
  const types = Object.entries(failed ?? {})
    .filter(([, number]) => number > 0)
    .sort(([, a], [, b]) => b - a);
  const total = sum(types.map(([, number]) => number));
  const ask = (type: string) => setAsked(type);
  return (
    <div className="grid min-w-0 content-start gap-x-6 gap-y-5 sm:max-lg:grid-cols-2 3xl:grid-cols-2">
      <div className="min-w-0">
        <div className="flex items-center justify-between gap-2 pb-2">
          <h3 className="font-medium">By type</h3>
          <Button small icon="retry" reason={reason} onClick={() => ask('')}>
            Retry all{waiting > 0 && ` ${count(waiting)}`}
          </Button>
        </div>
        {types.length === 0 && <p className="text-muted">No loan has failed.</p>}
        <ul className="flex flex-col gap-0.5" data-testid="by-type">
          {types.map(([type, number]) => (
            <li key={type} className="group flex items-center gap-1">
              <button
                type="button"
                aria-pressed={errorType === type}
                className="relative min-w-0 flex-1 overflow-hidden rounded-md px-2 py-1 text-left hover:bg-raised aria-pressed:outline-2 aria-pressed:-outline-offset-2 aria-pressed:outline-accent"
                title={`${words(type)}: ${errorType === type ? 'show all types' : 'show these alone'}`}
                onClick={() => onErrorType(errorType === type ? '' : type)}
              >
                <Bar part={number / total} />
                <span className="relative flex justify-between gap-3">
                  <span className="truncate">{words(type)}</span>
                  <span className="numeric shrink-0">
                    {count(number)} <span className="ml-1 inline-block w-10 text-right text-muted">{share(number, total)}</span>
                  </span>
                </span>
              </button>
              <Button small kind="ghost" icon="retry" reason={reason} title={`Retry ${words(type).toLowerCase()}`} onClick={() => ask(type)}>
                <span className="sr-only">Retry {words(type).toLowerCase()}</span>
              </Button>
            </li>
          ))}
        </ul>
      </div>
      <div className="min-h-0 min-w-0">
        <h3 className="pb-2 font-medium">By applicant</h3>
        {applicants === undefined || applicants.length === 0 ? (
          <p className="text-muted">No applicant’s loan has failed.</p>
        ) : (
          <ol className="max-h-64 overflow-y-auto 3xl:max-h-40" tabIndex={0} aria-label="Applicants with the most failures" data-testid="by-applicant">
            {applicants.map(({ applicant, count: number }) => (
              <li key={applicant} className="relative flex justify-between gap-3 overflow-hidden rounded-md px-2 py-0.5">
                <Bar part={number / (applicants[0]?.count ?? 1)} tone="bg-raised" />
                <Middle text={applicant} tail={14} className="relative" />
                <span className="numeric relative shrink-0">{count(number)}</span>
              </li>
            ))}
          </ol>
        )}
      </div>
      {asked !== null && (
        <Confirm
          title={asked === '' ? 'Retry all failed loans?' : `Retry ${words(asked).toLowerCase()}?`}
          action="Retry"
          onConfirm={() => retryLoans(asked === '' ? {} : { errorType: asked })}
          onClose={() => setAsked(null)}
        >
          {asked === ''
            ? `${plural(waiting, 'failed loan')} will be queued and processed again, unchanged.`
            : `Failed loans of this type will be queued and processed again, unchanged.`}{' '}
          Without a change of the rules or of the data they fail again.
        </Confirm>
      )}
    </div>
  );
}

function Bar({ part, tone = 'bg-bad-soft' }: { part: number; tone?: string }) {
  return <span className={`absolute inset-y-0 left-0 rounded-md ${tone}`} style={{ width: `${Math.max(1, 100 * part)}%` }} aria-hidden="true" />;
}
