import { memo, useId, type CSSProperties } from 'react';
import type { Failure } from '../api/types';
import { instant, shortInstant, words } from '../format';
import { LoanDetails } from '../loan/details';
import { Icon } from '../ui/icons';
import { Middle } from '../ui/middle';
import { live } from '../ui/store';
import { keyOf, type LogState } from './log';

interface Props {
  log: LogState;
  isFiltered: boolean;
  selected: ReadonlySet<string>;
  /** A row was chosen, or is no more. */
  onSelect: (loanId: string) => void;
  /** All rows of the page were. */
  onSelectPage: () => void;
  onToggle: (key: string) => void;
  /** A loan was queued again: the log may be another one now. */
  onChanged: () => void;
}

/** The rows of one page; one of them may be open. */
export function LogTable({ log, isFiltered, selected, onSelect, onSelectPage, onToggle, onChanged }: Props) {
  const { rows, phase, openKey } = log;
  if (rows.length === 0) {
    return (
      <div className="grid h-40 place-items-center rounded-lg border border-dashed border-line px-4 text-center text-muted" data-testid="log-empty">
        {phase === 'loading' ? 'Reading the log …' : phase === 'failed' ? 'The log cannot be read.' : isFiltered ? 'No failure matches these filters.' : 'No loan has failed. This is how it should be.'}
      </div>
    );
  }
  // Wide enough for a date: a row keeps the form that its time had when it was drawn.
  const columns = { '--time': '6.5rem' } as CSSProperties;
  return (
    <div className={`@container transition-opacity ${phase === 'loading' ? 'opacity-60' : ''}`} style={columns}>
      <div className="flex items-center gap-2">
        <label className="flex items-center gap-2 py-1 text-xs text-muted">
          <Box label="Choose all of this page" isOn={rows.every(({ loanId }) => selected.has(loanId))} onChange={onSelectPage} />
          <span className="@xl:sr-only">All of this page</span>
        </label>
        <div className="hidden min-w-0 flex-1 grid-cols-[1rem_var(--time)_minmax(6.5rem,1fr)_7rem_minmax(0,1.7fr)_minmax(0,1.2fr)] gap-3 border-b border-line px-2 pb-1 text-xs text-muted @xl:grid" aria-hidden="true">
          <span />
          <span>Time</span>
          <span>Loan</span>
          <span>Type</span>
          <span>What is wrong</span>
          <span>Applicant</span>
        </div>
      </div>
      <ul data-testid="log">
        {rows.map((failure) => {
          const key = keyOf(failure);
          return <Row key={key} failure={failure} isOpen={key === openKey} isSelected={selected.has(failure.loanId)} onSelect={onSelect} onToggle={onToggle} onChanged={onChanged} />;
        })}
      </ul>
    </div>
  );
}

interface RowProps {
  failure: Failure;
  isOpen: boolean;
  isSelected: boolean;
  onSelect: (loanId: string) => void;
  onToggle: (key: string) => void;
  onChanged: () => void;
}

const Row = memo(function Row({ failure, isOpen, isSelected, onSelect, onToggle, onChanged }: RowProps) {
  const details = useId();
  const atMs = Date.parse(failure.failedAt);
  const fault = failure.faults[0];
  const more = failure.faults.length - 1;
  return (
    <li className="border-b border-line last:border-b-0" data-loan={failure.loanId}>
      <div className="flex items-start gap-2">
        <span className="mt-[0.6rem] flex shrink-0">
          <Box label={`Choose ${failure.loanId}`} isOn={isSelected} onChange={() => onSelect(failure.loanId)} />
        </span>
        <button
          type="button"
          aria-expanded={isOpen}
          aria-controls={isOpen ? details : undefined}
          className="grid min-w-0 flex-1 grid-cols-[1rem_minmax(0,1fr)_auto] items-baseline gap-x-3 gap-y-0.5 rounded-md px-2 py-1.5 text-left hover:bg-raised @xl:grid-cols-[1rem_var(--time)_minmax(6.5rem,1fr)_7rem_minmax(0,1.7fr)_minmax(0,1.2fr)]"
          onClick={() => onToggle(keyOf(failure))}
        >
          <Icon name={isOpen ? 'down' : 'right'} className="translate-y-0.5 text-muted" />
          <time className="numeric text-[0.8125rem] whitespace-nowrap text-muted @max-xl:order-2" dateTime={failure.failedAt} title={instant(atMs, 0)}>
            {shortInstant(atMs, live.nowMs())}
          </time>
          <span className="flex min-w-0 items-baseline gap-1.5 @max-xl:order-1">
            <Middle text={failure.loanId} tail={9} className="font-mono text-[0.8125rem] font-medium" />
            {failure.attempt > 1 && <span className="shrink-0 text-[0.8125rem] text-muted">attempt {failure.attempt}</span>}
          </span>
          <span className="truncate text-bad @max-xl:order-3 @max-xl:col-start-2" title={words(failure.errorType)}>
            {words(failure.errorType)}
          </span>
          <span className="flex min-w-0 items-baseline gap-1.5 @max-xl:order-4 @max-xl:col-span-2 @max-xl:col-start-2" title={failure.faults.map(({ field, rule }) => `${field} ${rule}`).join('\n')}>
            {fault === undefined ? (
              <span className="text-muted">–</span>
            ) : (
              <>
                <span className="truncate">
                  <span className="font-medium">{fault.field}</span> <span className="text-muted">{fault.rule}</span>
                </span>
                {more > 0 && <span className="shrink-0 rounded bg-raised px-1 text-[0.8125rem] text-muted">+{more}</span>}
              </>
            )}
          </span>
          {failure.applicantEmail == null ? <span className="text-muted @max-xl:hidden">–</span> : <Middle text={failure.applicantEmail} tail={12} className="text-muted @max-xl:hidden" />}
        </button>
      </div>
      {isOpen && (
        <div id={details} className="px-2 pt-1 pb-4 sm:pl-9">
          <LoanDetails loanId={failure.loanId} failure={failure} onChanged={onChanged} />
        </div>
      )}
    </li>
  );
});

function Box({ label, isOn, onChange }: { label: string; isOn: boolean; onChange: () => void }) {
  return <input type="checkbox" className="size-4 shrink-0 accent-accent" aria-label={label} checked={isOn} onChange={onChange} />;
}
