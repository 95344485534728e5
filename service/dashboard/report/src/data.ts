// What the report gives the script: the JSON that `loadgen/report/src/live.rs` writes.

export type Row = (number | null)[];

export interface Line {
  name: string;
  class: string;
  /** What is shown: the mean of a rate, the highest of anything else. */
  shown: Row;
  /** Where a bucket is longer than a second: its lowest, highest and last second. */
  low?: Row;
  high?: Row;
  last?: Row;
}

export type Scale = 'rate' | 'level' | 'latency';

export interface Panel {
  title: string;
  scale: Scale;
  stepped: boolean;
  lines: Line[];
}

export interface Phase {
  name: string;
  from: number;
  to: number;
}

export interface Happening {
  at: number;
  kind: 'scale' | 'fault' | 'stop' | 'pause' | 'note';
  text: string;
  /** How long, in seconds; null for what has only an instant. */
  lasts: number | null;
}

export interface Curve {
  name: string;
  class: string;
  /** Percentile and microseconds. */
  points: [number, number][];
}

export interface Heatmap {
  columnSeconds: number;
  rowBoundsUs: number[];
  columns: number[][];
}

export interface Data {
  bucketSeconds: number;
  seconds: number;
  panels: Panel[];
  /** When the last arrival left, or as far as the load came. */
  sentUntil: number;
  phases: Phase[];
  events: Happening[];
  curves: Curve[];
  heatmap: Heatmap | null;
}

/** The data of this page. */
export function read(): Data {
  const element = document.getElementById('data');
  if (!element?.textContent) throw new Error('the page has no data');
  return JSON.parse(element.textContent) as Data;
}
