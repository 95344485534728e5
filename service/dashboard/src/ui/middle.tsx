/**
 * A text on one line that is cut in its middle when there is no room: ids of a kind begin alike and differ at the end,
 * an address is told by both. The whole stands in the title, and is what is copied.
 */
export function Middle({ text, tail, className = '' }: { text: string; tail: number; className?: string }) {
  // Not within a character of two units.
  const at = Math.max(0, text.length - tail);
  const split = /[\udc00-\udfff]/.test(text.charAt(at)) ? at + 1 : at;
  return (
    <span className={`flex min-w-0 ${className}`} title={text}>
      {/* An empty one would have no base line, and it is the first that the row is set by. */}
      {split > 0 && <span className="truncate">{text.slice(0, split)}</span>}
      <span className="max-w-full shrink-0 truncate whitespace-pre">{text.slice(split)}</span>
    </span>
  );
}
