import { useEffect, useState } from 'react';
import { words } from '../format';
import { Button } from '../ui/button';
import { useLive } from '../ui/store';
import { isFiltered, noFilters, type Filters } from './filters';

/** Those of the first version; the service tells of others by counting them. */
const KNOWN_TYPES = ['missing_field', 'wrong_type', 'out_of_range', 'invalid_format', 'poison'];

/** The filters of the log; each applies at once, a loan's id when it is whole. */
export function FilterBar({ filters, onChange }: { filters: Filters; onChange: (filters: Filters) => void }) {
  const [loanId, setLoanId] = useState(filters.loanId);
  // As one text, so that the bar is drawn again only when it is another.
  const counted = useLive((state) => Object.keys(state.snapshot?.counters.failed ?? {}).join(' '));
  const types = [...new Set([...KNOWN_TYPES, ...counted.split(' '), filters.errorType])].filter((type) => type !== '');
  useEffect(() => setLoanId(filters.loanId), [filters.loanId]);
  return (
    <form
      role="search"
      aria-label="Filter the error log"
      className="flex flex-wrap items-end gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        onChange({ ...filters, loanId: loanId.trim() });
      }}
    >
      <Field label="Loan" className="min-w-28 flex-1">
        <input
          className="field w-full font-mono text-[0.8125rem]"
          type="search"
          placeholder="Any id"
          value={loanId}
          onChange={(event) => {
            setLoanId(event.target.value);
            // The cross of a search field clears it.
            if (event.target.value === '' && filters.loanId !== '') onChange({ ...filters, loanId: '' });
          }}
          onBlur={() => loanId.trim() !== filters.loanId && onChange({ ...filters, loanId: loanId.trim() })}
        />
      </Field>
      <Field label="Type" className="min-w-36 flex-1">
        <select className="field w-full" title={filters.errorType === '' ? undefined : words(filters.errorType)} value={filters.errorType} onChange={(event) => onChange({ ...filters, errorType: event.target.value })}>
          <option value="">Any type</option>
          {types.map((type) => (
            <option key={type} value={type}>
              {words(type)}
            </option>
          ))}
        </select>
      </Field>
      <div className="flex min-w-0 grow-2 basis-full flex-wrap items-end gap-2 sm:min-w-[36rem] sm:basis-0">
        <Field label="From" className="min-w-64 flex-1">
          <input className="field numeric w-full" type="datetime-local" step="1" value={filters.from} onChange={(event) => onChange({ ...filters, from: event.target.value })} />
        </Field>
        <Field label="To" className="min-w-64 flex-1">
          <input className="field numeric w-full" type="datetime-local" step="1" value={filters.to} onChange={(event) => onChange({ ...filters, to: event.target.value })} />
        </Field>
        <Button icon="close" kind="ghost" className="w-9 px-0!" title="Clear the filters" reason={isFiltered(filters) ? null : 'No filter is set'} onClick={() => onChange(noFilters)}>
          <span className="sr-only">Clear</span>
        </Button>
      </div>
    </form>
  );
}

function Field({ label, className, children }: { label: string; className: string; children: React.ReactNode }) {
  return (
    <label className={`block min-w-0 ${className}`}>
      <span className="block pb-0.5 text-xs text-muted">{label}</span>
      {children}
    </label>
  );
}
