// Which stretch of time the charts show: the last minutes or days, or a stretch that was zoomed into. Pure.

const DAY = 24 * 3_600;
export const SPANS = [60, 300, 1_800, DAY, 7 * DAY] as const;
export type Span = (typeof SPANS)[number];

export type View = { mode: 'live'; span: Span } | { mode: 'fixed'; span: Span; from: number; to: number };

/** Whether a span is told by minutes, not by seconds. */
export function isOfDays(span: Span): boolean {
  return span >= DAY;
}

/** A span on its button: `5 min`, `24 h`, `7 d`. */
export function spanLabel(span: Span): string {
  if (span < DAY) return `${span / 60} min`;
  return span === DAY ? '24 h' : `${span / DAY} d`;
}

/** A span above the charts. */
export function spanTitle(span: Span): string {
  if (span === 60) return 'Last minute';
  if (span < DAY) return `Last ${span / 60} minutes`;
  return span === DAY ? 'Last 24 hours' : `Last ${span / DAY} days`;
}

/** The shortest stretch that can be zoomed into, in seconds. */
const SHORTEST = 5;

export function rangeAt(view: View, now: number): [number, number] {
  return view.mode === 'live' ? [now - view.span, now] : [view.from, view.to];
}

/** Zooms into a stretch; what is too short is widened. */
export function zoomTo(view: View, from: number, to: number): View {
  const middle = (from + to) / 2;
  const half = Math.max(to - from, SHORTEST) / 2;
  return { mode: 'fixed', span: view.span, from: middle - half, to: middle + half };
}

/** Zooms by a factor around an instant; out of the longest span it goes back to live. */
export function zoomBy(view: View, now: number, around: number, factor: number): View {
  const [from, to] = rangeAt(view, now);
  const length = Math.max(SHORTEST, (to - from) * factor);
  if (length >= view.span && view.mode === 'fixed') return { mode: 'live', span: view.span };
  if (length >= view.span) return view;
  const share = (around - from) / (to - from);
  return { mode: 'fixed', span: view.span, from: around - share * length, to: around + (1 - share) * length };
}

export function spanOfSearch(search: string): Span {
  const minutes = Number(new URLSearchParams(search).get('minutes'));
  return SPANS.find((span) => span === minutes * 60) ?? 300;
}
