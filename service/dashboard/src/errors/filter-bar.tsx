import { useEffect, useState } from 'react';
import { words } from '../format';
import { Button } from '../ui/button';
import { useLive } from '../ui/store';
import { isFiltered, noFilters, type Filters } from './filters';

/** Those of the first version; the service tells of others by counting them. */
const KNOWN_TYPES = ['missing_field', 'wrong_type', 'out_of_range', 'invalid_format', 'poison'];

/** The filters of the log; each applies at once, a text when it is whole. */
export function FilterBar({ filters, onChange }: { filters: Filters; onChange: (filters: Filters) => void }) {
  // As one text, so that the bar is drawn again only when it is another.
  const counted = useLive((state) => Object.keys(state.snapshot?.counters.failed ?? {}).join(' '));
  const types = [...new Set([...KNOWN_TYPES, ...counted.split(' '), filters.errorType])].filter((type) => type !== '');
  const text = (name: TextFilter, label: string, placeholder: string, isCode: boolean) => (
    <TextField key={name} label={label} placeholder={placeholder} isCode={isCode} value={filters[name]} onChange={(value) => onChange({ ...filters, [name]: value })} />
  );
  return (
    <form role="search" aria-label="Filter the error log" className="flex flex-wrap items-end gap-2" onSubmit={(event) => event.preventDefault()}>
      {text('loanId', 'Loan', 'Or its beginning', true)}
      {text('applicant', 'Applicant', 'Or its beginning', false)}
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
      {text('field', 'Field', 'Such as creditScore', true)}
      {text('rule', 'Rule', 'Its beginning', false)}
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

type TextFilter = 'loanId' | 'applicant' | 'field' | 'rule';

function TextField({ label, placeholder, isCode, value, onChange }: { label: string; placeholder: string; isCode: boolean; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const take = (whole: string) => whole.trim() !== value && onChange(whole.trim());
  return (
    <Field label={label} className="min-w-44 flex-1">
      <input
        className={`field w-full ${isCode ? 'font-mono text-[0.8125rem]' : ''}`}
        type="search"
        placeholder={placeholder}
        value={text}
        onKeyDown={(event) => event.key === 'Enter' && take(text)}
        onChange={(event) => {
          setText(event.target.value);
          // The cross of a search field clears it.
          if (event.target.value === '') take('');
        }}
        onBlur={() => take(text)}
      />
    </Field>
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
