// The shapes that the service speaks, by the names that the page uses. They are made from the Rust types: see schema.ts.

import type { components } from './schema';

type Schemas = components['schemas'];

export type Percentiles = Schemas['Percentiles'];
export type Snapshot = Schemas['Snapshot'];
export type Shard = Schemas['Shard'];
export type Point = Schemas['Point'];
export type History = Schemas['History'];
export type LiveEvent = Schemas['Event'];
export type Message = Schemas['Message'];
export type Failure = Schemas['FailedAttempt'];
export type FailurePage = Schemas['ErrorPage'];
export type LoanState = Schemas['LoanView'];
export type RetryResult = Schemas['Retried'];
export type Control = Schemas['Control'];
export type ProblemBody = Schemas['ProblemDetails'];
export type ErrorType = Schemas['ErrorType'];
export type Session = Schemas['Session'];
export type ActivityPage = Schemas['ActivityPage'];
export type ActivityEntry = Schemas['ActivityEntry'];
export type FailureFilter = Schemas['FailureFilter'];
export type FailureCount = Schemas['FailureCount'];
export type Task = Schemas['Task'];
export type Instance = Schemas['InstanceView'];
export type Partition = Schemas['PartitionView'];
