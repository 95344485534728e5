// How long to wait before the next attempt: longer each time, and never all pages at once.

const FIRST_MS = 400;
const LONGEST_MS = 15_000;

/** Before the attempt that follows `failures` failures; `random` is 0 to 1. */
export function backoffMs(failures: number, random: number): number {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
  // Between half and all of it, so that pages which lost the same service do not come back as one.
  return Math.round(most * (0.5 + 0.5 * random));
}
