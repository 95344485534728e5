// One loan: where it is, its steps with their times, every failed attempt, and what can be done.

import { useCallback, useEffect, useState, type ReactNode } from 'react';
import { ApiError, fetchLoan } from '../api/client';
import type { Failure, LoanState } from '../api/types';
import { retryLoans } from '../control/actions';
import { refusal } from '../control/session';
import { clockWithMs, duration, instant, words } from '../format';
import { Button } from '../ui/button';
import { session, useSession } from '../ui/store';
import { Correct } from './correct';

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
  const token = login.phase === 'admin' ? login.token : null;

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

  const isOnItsWay = loan !== null && ['queued', 'processing', 'accepted'].includes(loan.status);
  useEffect(() => {
    if (!isOnItsWay) return;
    const timer = setInterval(() => void look(), LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, [isOnItsWay, look]);

  const attempts = loan?.attempts ?? (failure === null ? [] : [failure]);
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
    return <p className="py-6 text-center text-muted">{fault.status === 404 ? `There is no loan ${loanId}.` : fault.message}</p>;
  }
  return (
    <div className="flex flex-col gap-5" data-testid="loan">
      <div className="flex flex-wrap items-center gap-2">
        {loan === null ? <span className="text-muted">{fault === null ? 'Reading the loan …' : fault.message}</span> : <StatusChip status={loan.status} />}
        <div className="ml-auto flex gap-2">
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
            </>
          )}
        </div>
      </div>
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
      {attempts.length > 0 && <Attempts attempts={attempts} />}
      {loan?.result != null && <Result result={loan.result} />}
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

/** Each step with its time and how long after the one before it came. */
function Steps({ loan }: { loan: LoanState }) {
  const { steps } = loan;
  if (steps.length === 0) return null;
  return (
    <Part title="Steps">
      <ol className="grid gap-x-4 gap-y-1 sm:grid-cols-[auto_auto_1fr]" data-testid="steps">
        {steps.map((step, index) => {
          const at = Date.parse(step.at);
          const before = steps[index - 1];
          const later = before === undefined ? null : (at - Date.parse(before.at)) / 1000;
          return (
            <li key={`${step.step} ${step.at}`} className="contents">
              <span className="font-medium">{words(step.step)}</span>
              <time className="numeric font-mono text-[0.8125rem]" dateTime={step.at} title={instant(at, 0)}>
                {clockWithMs(at)}
              </time>
              <span className="numeric text-muted max-sm:mb-1">{later === null ? '' : `+ ${later < 1 ? `${Math.round(later * 1000)} ms` : duration(later)}`}</span>
            </li>
          );
        })}
      </ol>
    </Part>
  );
}

function Attempts({ attempts }: { attempts: readonly Failure[] }) {
  return (
    <Part title={attempts.length === 1 ? 'What is wrong' : `Failed attempts, newest first`}>
      <ol className="flex flex-col gap-3" data-testid="attempts">
        {attempts.map((attempt) => (
          <li key={attempt.attempt}>
            <div className="pb-1 text-[0.8125rem] text-muted">
              Attempt {attempt.attempt}, <span className="numeric">{instant(Date.parse(attempt.failedAt))}</span>, {words(attempt.errorType).toLowerCase()}
            </div>
            <ul className="flex flex-col gap-1">
              {attempt.faults.map((fault) => (
                <li key={`${fault.field} ${fault.rule}`} className="grid gap-x-3 rounded-md bg-raised px-2.5 py-1.5 sm:grid-cols-[11rem_minmax(0,1fr)_minmax(0,1fr)]">
                  <span className="font-mono text-[0.8125rem] font-medium">{fault.field}</span>
                  <span>{fault.rule}</span>
                  <span className="wrap-anywhere text-muted">
                    was <code className="font-mono text-[0.8125rem]">{fault.value === '' ? 'empty' : fault.value}</code>
                  </span>
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ol>
    </Part>
  );
}

function Result({ result }: { result: Record<string, unknown> }) {
  return (
    <Part title="Result">
      <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-6 gap-y-1">
        {flat(result).map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-muted">{name}</dt>
            <dd className="numeric wrap-anywhere">{value}</dd>
          </div>
        ))}
      </dl>
    </Part>
  );
}

/** `{ applicant: { name } }` becomes `applicant.name`. */
function flat(value: Record<string, unknown>, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([name, part]): [string, string][] => {
    if (part !== null && typeof part === 'object' && !Array.isArray(part)) return flat(part as Record<string, unknown>, `${prefix}${name}.`);
    return [[prefix + name, typeof part === 'string' ? part : JSON.stringify(part)]];
  });
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <h4 className="pb-1.5 font-medium">{title}</h4>
      {children}
    </div>
  );
}
