// The error log's filters and their form in the page's address.

export interface Filters {
  loanId: string;
  errorType: string;
  /** Local date and time as `<input type="datetime-local">` gives it, or empty. */
  from: string;
  to: string;
}

export const noFilters: Filters = { loanId: '', errorType: '', from: '', to: '' };
const NAMES = ['loanId', 'errorType', 'from', 'to'] as const;

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
  if (filters.loanId !== '') query.set('loanId', filters.loanId);
  if (filters.errorType !== '') query.set('errorType', filters.errorType);
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
export function matches(filters: Filters, failure: { loanId: string; errorType: string }, atMs: number): boolean {
  return (
    (filters.loanId === '' || failure.loanId === filters.loanId) &&
    (filters.errorType === '' || failure.errorType === filters.errorType) &&
    (filters.from === '' || atMs >= instantMs(filters.from)) &&
    (filters.to === '' || atMs <= instantMs(filters.to))
  );
}

export function isFiltered(filters: Filters): boolean {
  return NAMES.some((name) => filters[name] !== '');
}
