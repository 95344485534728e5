// The error log's filters and their form in the page's address.

export interface Filters {
  /** The beginning of the loan's id. */
  loanId: string;
  /** The beginning of the applicant's address. */
  applicant: string;
  /** A field with a fault. */
  field: string;
  /** The beginning of a rule that was broken. */
  rule: string;
  errorType: string;
  /** Local date and time as `<input type="datetime-local">` gives it, or empty. */
  from: string;
  to: string;
}

export const noFilters: Filters = { loanId: '', applicant: '', field: '', rule: '', errorType: '', from: '', to: '' };
const NAMES = ['loanId', 'applicant', 'field', 'rule', 'errorType', 'from', 'to'] as const;
const TEXTS = ['loanId', 'applicant', 'field', 'rule', 'errorType'] as const;

export function filtersOf(search: string): Filters {
  const query = new URLSearchParams(search);
  const filters = { ...noFilters };
  for (const name of NAMES) filters[name] = query.get(name) ?? '';
  if (Number.isNaN(instantMs(filters.from))) filters.from = '';
  if (Number.isNaN(instantMs(filters.to))) filters.to = '';
  return filters;
}

/** The address's query with these filters in it; its other parts stay. */
export function searchWith(search: string, filters: Filters): string {
  const query = new URLSearchParams(search);
  for (const name of NAMES) {
    if (filters[name] === '') query.delete(name);
    else query.set(name, filters[name]);
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/** The query of `/api/errors`. */
export function queryOf(filters: Filters, limit: number, cursor: string | null): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of TEXTS) if (filters[name] !== '') query.set(name, filters[name]);
  if (filters.from !== '') query.set('from', String(instantMs(filters.from)));
  if (filters.to !== '') query.set('to', String(instantMs(filters.to)));
  query.set('limit', String(limit));
  if (cursor !== null) query.set('cursor', cursor);
  return query;
}

/** Milliseconds since the epoch of a local date and time; NaN when it is none; of an empty text 0. */
export function instantMs(text: string): number {
  return text === '' ? 0 : new Date(text).getTime();
}

/** Whether a live failure belongs into the filtered log. */
export function matches(filters: Filters, failure: { loanId: string; errorType: string; applicant?: string | null }, atMs: number): boolean {
  return (
    failure.loanId.startsWith(filters.loanId) &&
    (failure.applicant ?? '').toLowerCase().startsWith(filters.applicant.toLowerCase()) &&
    // What is told of a failure names no fields: it may match.

    (filters.errorType === '' || failure.errorType === filters.errorType) &&
    (filters.from === '' || atMs >= instantMs(filters.from)) &&
    (filters.to === '' || atMs <= instantMs(filters.to))
  );
}

export function isFiltered(filters: Filters): boolean {
  return NAMES.some((name) => filters[name] !== '');
}
