// One loan: where it is, its steps with their times, every failed attempt, and what can be done.

import { useCallback, useEffect, useState, type ReactNode } from 'react';
import { ApiError, fetchLoan } from '../api/client';
import type { Failure, LoanState } from '../api/types';
import { retryLoans } from '../control/actions';
import { refusal, whoIs } from '../control/session';
import { Ask } from '../errors/act';
import { clockWithMs, day, duration, instant, isSameDay, words } from '../format';
import { Button } from '../ui/button';
import { live, session, useLive, useSession } from '../ui/store';
import { Correct } from './correct';
import { factsOf } from './facts';

interface Props {
  loanId: string;
  /** What the log's row knows already. */
  failure: Failure | null;
  onChanged: () => void;
}

/** A loan on its way is looked at again this often. */
const LOOK_EVERY_MS = 1_000;

export function LoanDetails({ loanId, failure, onChanged }: Props) {
  const login = useSession();
  const [loan, setLoan] = useState<LoanState | null>(null);
  const [fault, setFault] = useState<ApiError | null>(null);
  const [isCorrecting, setCorrecting] = useState(false);
  const [isDiscarding, setDiscarding] = useState(false);
  const token = whoIs(login)?.token ?? null;

  const look = useCallback(
    async (signal?: AbortSignal) => {
      try {
        setLoan(await fetchLoan(loanId, token, signal));
        setFault(null);
      } catch (error) {
        if (signal?.aborted !== true && error instanceof ApiError) setFault(error);
      }
    },
    [loanId, token],
  );

  useEffect(() => {
    const abort = new AbortController();
    void look(abort.signal);
    return () => abort.abort();
  }, [look]);

  const discarded = useLive(({ snapshot }) => (loan?.status === 'failed' ? (snapshot?.counters.discarded ?? 0) : 0));
  useEffect(() => {
    // Loans were discarded: this may be one of them.
    if (discarded > 0) void look();
  }, [discarded, look]);
  const isOnItsWay = loan !== null && ['queued', 'processing', 'accepted'].includes(loan.status);
  useEffect(() => {
    if (!isOnItsWay) return;
    const timer = setInterval(() => void look(), LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, [isOnItsWay, look]);

  const attempts = loan?.attempts ?? (failure === null ? [] : [failure]);
  const toldInstants = new Set(loan?.steps.map((step) => Date.parse(step.at)));
  const canRetry = loan?.status === 'failed';
  const reason = refusal(session.state) ?? (loan === null ? 'Reading the loan' : canRetry ? null : `The loan is ${loan.status}`);
  const changed = async () => {
    await look();
    onChanged();
  };

  const retryOne = async () => {
    if ((await retryLoans({ loanIds: [loanId] })) !== null) await changed();
  };

  if (fault !== null && loan === null && failure === null) {
    return <p className="py-6 text-center wrap-anywhere text-muted">{fault.status === 404 ? `There is no loan ${loanId}.` : fault.message}</p>;
  }
  return (
    <div className="flex flex-col gap-5" data-testid="loan">
      <div className="flex flex-wrap items-center gap-2">
        {loan === null ? <span className="text-muted">{fault === null ? 'Reading the loan …' : fault.message}</span> : <StatusChip status={loan.status} />}
        <div className="ml-auto flex flex-wrap gap-2">
          {(canRetry || failure !== null) && (
            <>
              <Button
                small
                icon="retry"
                reason={reason}
                onClick={() => void retryOne()}
              >
                Retry
              </Button>
              <Button small reason={reason} aria-expanded={isCorrecting} onClick={() => setCorrecting(!isCorrecting)}>
                Correct and retry
              </Button>
              <Button small icon="close" reason={reason} onClick={() => setDiscarding(true)}>
                Discard …
              </Button>
            </>
          )}
        </div>
      </div>
      {isDiscarding && (
        <Ask
          kind="discard"
          target={{ loanIds: [loanId] }}
          // The failure stays in the log, so the row stays open and tells when it is done.
          onDone={() => setDiscarding(false)}
          onClose={() => setDiscarding(false)}
        />
      )}
      {loan?.discarded != null && (
        <p className="wrap-anywhere" data-testid="discarded">
          Discarded by <span className="font-medium">{loan.discarded.by}</span>: {loan.discarded.reason}
        </p>
      )}
      {isCorrecting && loan !== null && (
        <Correct
          loan={loan}
          attempts={attempts}
          onDone={() => {
            setCorrecting(false);
            void changed();
          }}
          onClose={() => setCorrecting(false)}
        />
      )}
      {loan !== null && <Steps loan={loan} />}
      {attempts.length > 0 && <Attempts attempts={attempts} toldInstants={toldInstants} />}
      {loan?.result != null && <Result result={loan.result} toldInstants={toldInstants} />}
    </div>
  );
}

function StatusChip({ status }: { status: string }) {
  const tone = status === 'failed' ? 'bg-bad-soft text-bad' : status === 'recorded' || status === 'accepted' ? 'bg-good-soft text-good' : 'bg-accent-soft text-accent';
  return (
    <span className={`rounded-full px-2.5 py-0.5 font-medium ${tone}`} data-testid="loan-status">
      {words(status)}
    </span>
  );
}

/** Each step with its time and how long after the one before it came. Their order is the service's, not the clock's. */
function Steps({ loan }: { loan: LoanState }) {
  const { steps } = loan;
  if (steps.length === 0) return null;
  return (
    <Part title="Steps">
      <ol className="grid grid-cols-[auto_auto_1fr] items-baseline gap-x-3 gap-y-1" data-testid="steps">
        {steps.map((step, index) => {
          const at = Date.parse(step.at);
          const before = steps[index - 1];
          const later = before === undefined ? null : at - Date.parse(before.at);
          const isOnDay = index > 0 ? before !== undefined && isSameDay(at, Date.parse(before.at)) : isSameDay(at, live.nowMs());
          return (
            <li key={step.step} className="contents">
              <span className="font-medium">{words(step.step)}</span>
              <time className="numeric" dateTime={step.at}>
                {!isOnDay && <span className="mr-2 text-muted">{day(at)}</span>}
                {clockWithMs(at)}
              </time>
              <span className="numeric text-muted">{later === null ? '' : later < 0 ? 'the clock was set back' : `+ ${later < 1_000 ? `${later} ms` : duration(later / 1_000)}`.replaceAll(' ', '\u00a0')}</span>
            </li>
          );
        })}
      </ol>
    </Part>
  );
}

function Attempts({ attempts, toldInstants }: { attempts: readonly Failure[]; toldInstants: ReadonlySet<number> }) {
  return (
    <Part title={attempts.length === 1 ? 'What is wrong' : `Failed attempts, newest first`}>
      <ol className="flex flex-col gap-3" data-testid="attempts">
        {attempts.map((attempt) => {
          const at = Date.parse(attempt.failedAt);
          return (
            <li key={attempt.attempt}>
              <div className="pb-1 text-[0.8125rem] text-muted">
                Attempt {attempt.attempt}, {!toldInstants.has(at) && <span className="numeric">{instant(at, live.nowMs())}, </span>}
                {words(attempt.errorType).toLowerCase()}
              </div>
              <ul className="flex flex-col gap-1">
                {attempt.faults.map((fault) => (
                  <li key={`${fault.field} ${fault.rule}`} className="grid gap-x-3 rounded-md bg-raised px-2.5 py-1.5 sm:grid-cols-[11rem_minmax(0,1fr)_minmax(0,1fr)] sm:items-baseline">
                    <span className="font-mono text-[0.8125rem] font-medium wrap-anywhere">{fault.field}</span>
                    <span className="wrap-anywhere">{fault.rule}</span>
                    <span className="wrap-anywhere text-muted">
                      was <code className="font-mono text-[0.8125rem]">{fault.value === '' ? 'empty' : fault.value}</code>
                    </span>
                  </li>
                ))}
              </ul>
            </li>
          );
        })}
      </ol>
    </Part>
  );
}

function Result({ result, toldInstants }: { result: Record<string, unknown>; toldInstants: ReadonlySet<number> }) {
  return (
    <>
      {factsOf(result, toldInstants).map(({ title, facts }) => (
        <Part key={title} title={title === '' ? 'Result' : title}>
          <dl className="grid grid-cols-[8.5rem_minmax(0,1fr)] items-baseline gap-x-6 gap-y-1 sm:grid-cols-[10rem_minmax(0,1fr)]">
            {facts.map(({ name, value, isCode }) => (
              <div key={name} className="contents">
                <dt className="text-muted">{name}</dt>
                <dd className={`wrap-anywhere ${isCode ? 'font-mono text-[0.8125rem]' : 'numeric'}`}>{value}</dd>
              </div>
            ))}
          </dl>
        </Part>
      ))}
    </>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <h4 className="pb-1.5 font-medium">{title}</h4>
      {children}
    </div>
  );
}
