// The shapes that the service speaks.

export interface Percentiles {
  count: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

export interface ApplicantCount {
  applicant: string;
  count: number;
}

export interface Snapshot {
  atMs: number;
  instance: string;
  version: string;
  gitCommit: string;
  uptimeSeconds: number;
  counters: {
    received: number;
    admitted: number;
    replayed: number;
    rejected: Record<string, number>;
    processed: number;
    accepted: number;
    failed: Record<string, number>;
    failedByApplicant: ApplicantCount[];
    retried: number;
    recordedLoans: number;
    recordedFailures: number;
    redelivered: number;
    lostCommitRaces: number;
    duplicateKeys: number;
  };
  gauges: {
    queueDepth: number;
    inFlight: number;
    unrecorded: number;
    failedWaiting: number;
    workers: number;
    workersMax: number;
    connections: number;
    webSocketClients: number;
    paused: boolean;
    instances?: number;
    workersHere?: number;
    oldestWaitingMs?: number;
  };
  rates: { received: number; admitted: number; processed: number; recorded: number };
  latencyUs: Record<'admit' | 'queueWait' | 'process' | 'commit' | 'record' | 'endToEnd', Percentiles>;
  recentLatencyUs: { admit: Percentiles; endToEnd: Percentiles };
  redis: {
    up: boolean;
    version: string;
    appendfsync: string;
    usedMemoryBytes: number;
    maxMemoryBytes: number;
    durable?: boolean;
  };
  mongodb: { up: boolean; version: string };
  process: { rssBytes: number; cpuSeconds: number; openFiles: number };
}

export interface Point {
  atMs: number;
  received: number;
  admitted: number;
  processed: number;
  recorded: number;
  failed: number;
  queueDepth: number;
  inFlight: number;
  unrecorded: number;
  workers: number;
  admitP50Us: number;
  admitP99Us: number;
  endToEndP50Us: number;
  endToEndP99Us: number;
}

export type RunKind = 'start' | 'phase' | 'fault' | 'latency' | 'end';

export type LiveEvent = { atMs: number } & (
  | { kind: 'scale'; instance?: string; from: number; to: number; reason: string }
  | { kind: 'failure'; loanId: string; errorType: string; attempt: number; applicant?: string | null }
  | { kind: 'pause' }
  | { kind: 'resume' }
  | { kind: 'retry'; requeued: number }
  | ({ kind: 'run' } & RunMarker)
);

export interface RunMarker {
  runId: string;
  scenario: string;
  /** `kind` of the marker: the event's own `kind` is `run`. */
  marker: RunKind;
  name?: string | null;
  verdict?: string | null;
  responseUs?: Percentiles | null;
}

export type Message =
  | { type: 'history'; points: Point[] }
  | { type: 'snapshot'; snapshot: Snapshot }
  | { type: 'event'; event: LiveEvent };

export interface History {
  points: Point[];
  events: LiveEvent[];
}

export interface Fault {
  field: string;
  rule: string;
  errorType: string;
  value: string;
}

export interface Failure {
  loanId: string;
  attempt: number;
  errorType: string;
  faults: Fault[];
  applicantEmail?: string | null;
  receivedAt: string;
  failedAt: string;
}

export interface FailurePage {
  errors: Failure[];
  nextCursor: string | null;
}

export interface LoanStep {
  step: string;
  at: string;
}

export interface LoanState {
  loanId: string;
  status: string;
  receivedAt?: string | null;
  steps?: LoanStep[];
  attempts?: Failure[];
  result?: Record<string, unknown> | null;
  loan?: Record<string, unknown> | null;
}

export interface RetryResult {
  requeued: number;
  skipped: number;
  remaining: number;
}

export interface Control {
  paused: boolean;
  pausedAt?: string | null;
}

export interface ProblemBody {
  status: number;
  title: string;
  detail?: string;
  errorType?: string;
}
