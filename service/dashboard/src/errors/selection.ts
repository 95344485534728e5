// Which rows of the log are chosen. Pure.

/** Ids that one call may name. */
export const SELECTED_MAX = 1_000;

export function toggled(selected: ReadonlySet<string>, loanId: string): ReadonlySet<string> {
  const next = new Set(selected);
  if (!next.delete(loanId) && next.size < SELECTED_MAX) next.add(loanId);
  return next;
}

/** All of a page, or none of it when all of it was chosen. */
export function pageToggled(selected: ReadonlySet<string>, page: readonly string[]): ReadonlySet<string> {
  const next = new Set(selected);
  if (page.every((loanId) => next.has(loanId))) for (const loanId of page) next.delete(loanId);
  else for (const loanId of page) if (next.size < SELECTED_MAX) next.add(loanId);
  return next;
}
