// Made from /openapi.json by `npm run types`, which the service makes from its Rust types. Do not edit.

export interface paths {
    "/api/activity": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What operators have changed
         * @description Newest first: who, from where, when, and what came of it.
         */
        get: operations["getApiActivity"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Is ingestion paused?
         * @description For every instance.
         */
        get: operations["getApiControl"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pause ingestion
         * @description For every instance at once, through a restart of anything. New loans are answered 503; what was admitted goes on being processed.
         */
        post: operations["postApiControlPause"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Resume ingestion
         * @description For every instance at once.
         */
        post: operations["postApiControlResume"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/downloads/{ticket}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Download
         * @description Once. The file is made while it is sent; closing the connection ends it.
         */
        get: operations["getApiDownloadsTicket"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/errors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The failed attempts
         * @description Newest first. What `nextCursor` leads to is older, so pages have neither gaps nor repeats while new failures come.
         */
        get: operations["getApiErrors"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/errors/count": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How many failures a filter finds
         * @description What a retry or a discard would act on is `waiting`. Counting is given up after 2 seconds: then `isExact` is false, and there are at least so many.
         */
        get: operations["getApiErrorsCount"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/exports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A link for one download
         * @description Good for one download within a minute, without a token: so that a browser can save what is long.
         */
        post: operations["postApiExports"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/exports/errors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Failed attempts, as a file
         * @description Newest first. CSV for spreadsheets: no cell begins as a formula does; what would is preceded by an apostrophe. NDJSON is what `/api/errors` shows, an object a line.
         */
        get: operations["getApiExportsErrors"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/exports/loans": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Accepted loans, as a file
         * @description In no order. In CSV money is in the currency's unit and rates are in percent.
         */
        get: operations["getApiExportsLoans"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The last half hour, day or week
         * @description A point a second, and what happened meanwhile; of a day a point a minute, of a week one in ten, from MongoDB. The latencies of the last half hour are of this instance, those of days the highest of any.
         */
        get: operations["getApiHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/instances": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Instances, workers and partitions
         * @description As of the last second.
         */
        get: operations["getApiInstances"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/loans/{loanId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Where a loan is
         * @description With the steps of its way, the attempts that failed, and its result once it is accepted.
         */
        get: operations["getApiLoansLoanId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/loans/request": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Where the loan of this name is
         * @description As `/api/loans/{loanId}`: a loan may be called as a call is.
         */
        get: operations["getApiLoansRequest"];
        put?: never;
        /**
         * Ask for a loan
         * @description 202 once the loan is durable in the queue. The same loan again is answered 202 with `replayed: true` and counted once, so a client that heard nothing, or 503, sends the same loan again. A loan that breaks rules is taken too, and fails later: see `/api/errors`.
         */
        post: operations["postApiLoansRequest"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/loans/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Where the loan of this name is
         * @description As `/api/loans/{loanId}`: a loan may be called as a call is.
         */
        get: operations["getApiLoansRetry"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Queue failed loans again
         * @description All of them, those of a category, or those of some ids, the oldest first. Each becomes a new attempt in the same history. With `correction` one loan gets other content; a client that repeats the content it sent first is still answered `replayed: true`. A loan that fails again during the call is not taken twice. Of two calls at once each loan is taken by one.
         */
        patch: operations["patchApiLoansRetry"];
        trace?: never;
    };
    "/api/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The live snapshot
         * @description The same object that `/ws` sends.
         */
        get: operations["getApiMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tell where a load run is
         * @description Every dashboard of every instance shows it.
         */
        post: operations["postApiRuns"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whose token is this?
         * @description 200 if it is known.
         */
        get: operations["getApiSession"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/tasks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Work on many failed loans
         * @description That of the last day, newest first.
         */
        get: operations["getApiTasks"];
        put?: never;
        /**
         * Retry or discard many failed loans
         * @description Those that a filter finds and that had failed when it began, or those of some ids. Where there are more than `expected`, which were confirmed, nothing begins. It is done in bounded steps, one task of each kind at a time; an instance                           that ends leaves it to another. A discarded loan stays in the record, with who, when and why; its id stays taken.
         */
        post: operations["postApiTasks"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/tasks/{taskId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How far a task is
         * @description `done`, `skipped` and `remaining` are the whole.
         */
        get: operations["getApiTasksTaskId"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/tasks/{taskId}/stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop a task
         * @description It ends after the step that it is in. What is done stays done.
         */
        post: operations["postApiTasksTaskIdStop"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Liveness
         * @description 200 while the process runs.
         */
        get: operations["getHealthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The figures for Prometheus
         * @description OpenMetrics.
         */
        get: operations["getMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This description
         * @description OpenAPI 3.1.
         */
        get: operations["getOpenapiJson"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Readiness
         * @description 200 while this instance can do what its roles are for and is not stopping: the roles `api` and `dashboard` need Redis, `worker` too, and `persister` without these MongoDB as well. `degraded` says what is amiss besides, and since when.
         */
        get: operations["getReadyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ws": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow what happens
         * @description A WebSocket. Each text is a `Message`: first the history, then a snapshot five times a second, and events as they happen. A page of another origin is refused; it learns why by POST to this path. A page sends its token as a protocol: it asks for `sluice` and `bearer.TOKEN`.
         */
        get: operations["getWs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description One change by an operator. */
        ActivityEntry: {
            /** @description What was done, such as `pause`. */
            action: string;
            /** @description The client's address. */
            address: string;
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description What came of it, in words. */
            effect: string;
            /** @description The name that goes with the token. */
            name: string;
            /** @description Why, in the operator's words; hidden from whoever has no token. */
            reason?: string | null;
            /** @description Finds the call in the log. */
            requestId: string;
        };
        /** @description Changes by operators, newest first. */
        ActivityPage: {
            /** @description The changes. */
            entries: components["schemas"]["ActivityEntry"][];
            /** @description Asks for what is older, as `cursor`; `null` at the end. */
            nextCursor: string | null;
        };
        /** @description One applicant's failures. */
        ApplicantCount: {
            /** @description The applicant's e-mail address. */
            applicant: string;
            /**
             * Format: int64
             * @description Failed attempts.
             */
            count: number;
        };
        /** @description Who asks for a loan, as a client sends it. */
        ApplicantRequest: {
            /**
             * Format: int32
             * @description Age in years.
             * @example 67
             */
            ageYears?: number | null;
            /**
             * Format: double
             * @description Yearly income, at most two decimals.
             * @example 42000
             */
            annualIncome?: number | null;
            /**
             * @description E-mail address.
             * @example elke@example.org
             */
            email: string;
            /**
             * Format: int32
             * @description Years at the present employer.
             * @example 4
             */
            employmentYears?: number | null;
            /**
             * @description Full name.
             * @example Elke Hartmann
             */
            name: string;
            /**
             * @description Telephone number.
             * @example +49 30 1234567
             */
            phone?: string | null;
        };
        /** @description Who asked for a loan: what validation makes, MongoDB keeps and the API tells. */
        ApplicantResult: {
            /**
             * Format: int32
             * @description Age in years.
             */
            ageYears?: number | null;
            /**
             * Format: int64
             * @description Yearly income, in hundredths.
             */
            annualIncomeMinor?: number | null;
            /** @description E-mail address. */
            email: string;
            /**
             * Format: int32
             * @description Years at the present employer.
             */
            employmentYears?: number | null;
            /** @description Full name. */
            name: string;
            /** @description Telephone number. */
            phone?: string | null;
        };
        /** @description What an operator has set, for every instance. */
        Control: {
            /** @description Whether new loans are refused. What was admitted goes on being processed. */
            paused: boolean;
            /**
             * Format: date-time
             * @description Since when.
             */
            pausedAt?: string | null;
        };
        /** @description Sums that only grow. */
        Counters: {
            /**
             * Format: int64
             * @description Loans that passed validation.
             */
            accepted: number;
            /**
             * Format: int64
             * @description Loans put in the queue, each once.
             */
            admitted: number;
            /**
             * Format: int64
             * @description Failed loans that operators have finished.
             */
            discarded?: number;
            /**
             * Format: int64
             * @description Records that MongoDB already held.
             */
            duplicateKeys: number;
            /** @description Loans that failed, by category. */
            failed: {
                [key: string]: number;
            };
            /**
             * @description The applicants with the most failures, most first, at most 20. Among more than 10,000
             *     applicants with failures, the rarest are forgotten: then a count may be too low.
             */
            failedByApplicant: components["schemas"]["ApplicantCount"][];
            /**
             * Format: int64
             * @description Commits that came second for their loan and were dropped.
             */
            lostCommitRaces: number;
            /**
             * Format: int64
             * @description Loans that a worker decided: `accepted` plus all of `failed`.
             */
            processed: number;
            /**
             * Format: int64
             * @description Loan requests that reached this instance with a whole head.
             */
            received: number;
            /**
             * Format: int64
             * @description Failures that MongoDB has confirmed.
             */
            recordedFailures: number;
            /**
             * Format: int64
             * @description Accepted loans that MongoDB has confirmed.
             */
            recordedLoans: number;
            /**
             * Format: int64
             * @description Loans taken over from a worker or a recorder that went silent.
             */
            redelivered: number;
            /** @description Requests that this instance refused, by `errorType`. */
            rejected: {
                [key: string]: number;
            };
            /**
             * Format: int64
             * @description Requests that repeated a known loan.
             */
            replayed: number;
            /**
             * Format: int64
             * @description Failed loans that were queued again.
             */
            retried: number;
            /**
             * Format: int64
             * @description Admissions that Redis had confirmed to this instance and does not know any more.
             */
            rolledBack?: number;
            /**
             * Format: int64
             * @description Loans whose bundle nobody can read: Redis keeps it aside.
             */
            setAside?: number;
        };
        /** @description Something that is amiss. */
        Degraded: {
            /** @description What it means, in words. */
            detail: string;
            /**
             * Format: date-time
             * @description Since when.
             */
            since: string;
            /** @description `redis`, `shard`, `durability`, `memory`, `rollback`, `mongodb` or `recording`. */
            what: string;
        };
        /** @description How a failed loan was finished by hand. */
        Discarded: {
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description The name that goes with the operator's token. */
            by: string;
            /** @description Why. */
            reason: string;
        };
        /** @description Failed attempts, newest first. */
        ErrorPage: {
            /** @description The failed attempts. */
            errors: components["schemas"]["FailedAttempt"][];
            /** @description Asks for what is older, as `cursor`; `null` at the end. */
            nextCursor: string | null;
        };
        /**
         * @description Why a loan failed.
         * @enum {string}
         */
        ErrorType: "missing_field" | "wrong_type" | "out_of_range" | "invalid_format" | "poison" | "conflict" | "refused" | "unreadable";
        /** @description Something that happened, told as it happens. */
        Event: components["schemas"]["EventKind"] & {
            /**
             * Format: int64
             * @description When, in milliseconds since the Unix epoch.
             */
            atMs: number;
        };
        /** @description The kinds of [`Event`]. */
        EventKind: {
            /**
             * Format: int64
             * @description Workers before.
             */
            from: number;
            /** @description The instance. */
            instance: string;
            /** @enum {string} */
            kind: "scale";
            /** @description Why, in words. */
            reason: string;
            /**
             * Format: int64
             * @description Workers after.
             */
            to: number;
        } | {
            /** @description The applicant's e-mail address, as far as it could be read. */
            applicant?: string | null;
            /**
             * Format: int32
             * @description Which attempt, 1 first.
             */
            attempt: number;
            /** @description Its category. */
            errorType: string;
            /** @enum {string} */
            kind: "failure";
            /** @description Its id. */
            loanId: string;
        } | {
            /** @description Who did it. */
            by?: string | null;
            /** @enum {string} */
            kind: "pause";
        } | {
            /** @description Who did it. */
            by?: string | null;
            /** @enum {string} */
            kind: "resume";
        } | {
            /** @description Who did it. */
            by?: string | null;
            /** @enum {string} */
            kind: "retry";
            /**
             * Format: int64
             * @description How many.
             */
            requeued: number;
        } | {
            /** @description Who did it. */
            by?: string | null;
            /**
             * Format: int64
             * @description How many.
             */
            discarded: number;
            /** @enum {string} */
            kind: "discard";
        } | {
            /**
             * Format: int64
             * @description How many calls of admission are gone.
             */
            admissions: number;
            /** @enum {string} */
            kind: "rolledBack";
            /**
             * Format: int64
             * @description The partition.
             */
            partition: number;
        } | {
            /** @enum {string} */
            kind: "run";
            /** @description What the marker marks. */
            marker: components["schemas"]["RunMarkerKind"];
            /** @description The phase's or the fault's name. */
            name?: string | null;
            responseUs?: null | components["schemas"]["Percentiles"];
            /** @description Names the run. */
            runId: string;
            /** @description The scenario's name. */
            scenario: string;
            /** @description The verdict, at the end. */
            verdict?: string | null;
        };
        /**
         * @description The form of an export.
         * @enum {string}
         */
        ExportFormat: "csv" | "ndjson";
        /**
         * @description What can be exported.
         * @enum {string}
         */
        ExportOf: "errors" | "loans";
        /** @description Asks for a link to a download. */
        ExportRequest: {
            /** @description Which; of loans only `from` and `to` may be given, for when they were decided. */
            filter?: components["schemas"]["FailureFilter"];
            /** @description In which form. */
            format: components["schemas"]["ExportFormat"];
            /** @description What. */
            of: components["schemas"]["ExportOf"];
        };
        /** @description A link that is good for one download. */
        ExportTicket: {
            /**
             * Format: date-time
             * @description When it ends.
             */
            expiresAt: string;
            /** @description Where it is, without a token. */
            href: string;
        };
        /** @description One failed attempt of a loan. */
        FailedAttempt: {
            /** @description The applicant's address, as far as it could be read. */
            applicantEmail?: string | null;
            /**
             * Format: int32
             * @description Which attempt, 1 first.
             */
            attempt: number;
            discarded?: null | components["schemas"]["Discarded"];
            /** @description The first by rank of the faults' categories. */
            errorType: components["schemas"]["ErrorType"];
            /**
             * Format: date-time
             * @description When a worker decided it.
             */
            failedAt: string;
            /** @description Every fault. */
            faults: components["schemas"]["FaultView"][];
            /** @description Whether it waits: for a retry, a correction or a discard. */
            isWaiting?: boolean;
            /** @description The loan's id. */
            loanId: string;
            /**
             * Format: date-time
             * @description When the loan's body had come in whole.
             */
            receivedAt: string;
        };
        /** @description How many failures a filter finds. */
        FailureCount: {
            /**
             * Format: int64
             * @description Failed attempts.
             */
            attempts: number;
            /** @description Otherwise counting took too long, and there are at least so many. */
            isExact: boolean;
            /**
             * Format: int64
             * @description Different loans.
             */
            loans: number;
            /**
             * Format: int64
             * @description Loans that a retry or a discard acts on.
             */
            waiting: number;
        };
        /** @description Which failed attempts: those that everything here holds for. Empty: all. */
        FailureFilter: {
            /** @description The applicant's address begins so; upper and lower case are the same. */
            applicant?: string | null;
            /** @description The category. One that nobody knows finds nothing. */
            errorType?: string | null;
            /** @description A fault is in this field, such as `applicant.email`. */
            field?: string | null;
            /**
             * @description Failed at this instant or later: RFC 3339, or milliseconds since 1970.
             * @example 2026-01-31T12:00:00Z
             */
            from?: string | null;
            /** @description The loan's id begins so. */
            loanId?: string | null;
            /** @description A fault's rule begins so. */
            rule?: string | null;
            /**
             * @description Failed before this instant.
             * @example 2026-01-31T12:00:00Z
             */
            to?: string | null;
            /** @description Only what waits: for a retry, a correction or a discard. */
            waiting?: boolean | null;
        };
        /** @description One broken rule. */
        FaultView: {
            /** @description Of what kind. */
            errorType: components["schemas"]["ErrorType"];
            /** @description Which field, such as `applicant.email`. */
            field: string;
            /** @description The rule, in words. */
            rule: string;
            /** @description The value that broke it, shortened; empty where there is none. */
            value: string;
        };
        /** @description Values at one instant. */
        Gauges: {
            /**
             * Format: int64
             * @description Open HTTP connections of this instance.
             */
            connections: number;
            /**
             * Format: int64
             * @description Failed loans that wait: for a retry, a correction or a discard.
             */
            failedWaiting: number;
            /**
             * Format: int64
             * @description Loans that a worker holds.
             */
            inFlight: number;
            /**
             * Format: int64
             * @description Instances that are alive, whatever their roles.
             */
            instances: number;
            /**
             * Format: int64
             * @description Age of the oldest loan that no worker has decided, in milliseconds; 0 if there is none.
             */
            oldestWaitingMs: number;
            /** @description Whether ingestion is paused, for every instance. */
            paused: boolean;
            /**
             * Format: int64
             * @description Loans that wait for a worker.
             */
            queueDepth: number;
            /**
             * Format: int64
             * @description Results that MongoDB has not confirmed yet.
             */
            unrecorded: number;
            /**
             * Format: int64
             * @description WebSocket clients of this instance.
             */
            webSocketClients: number;
            /**
             * Format: int64
             * @description Workers of all instances.
             */
            workers: number;
            /**
             * Format: int64
             * @description Workers of this instance.
             */
            workersHere: number;
            /**
             * Format: int64
             * @description The most workers that all instances together may run.
             */
            workersMax: number;
        };
        /** @description A state in one word. */
        Health: {
            /** @description What is amiss all the same. */
            degraded?: components["schemas"]["Degraded"][];
            /** @description `up` or `ready`. */
            status: string;
        };
        /** @description What `GET /api/history` answers, oldest first. */
        History: {
            /** @description What happened meanwhile, but for failures: those are in `/api/errors`. */
            events: components["schemas"]["Event"][];
            /**
             * @description The points. Beyond half an hour each stands for a stretch: its sums are those of its end, its gauges the mean, its
             *     latencies the highest.
             */
            points: components["schemas"]["Point"][];
            /**
             * Format: int64
             * @description Seconds between two points.
             */
            stepSeconds?: number;
        };
        /** @description The instances that are alive, and the partitions of the queue, as of the last second. */
        InstanceList: {
            /** @description By their ids. */
            instances: components["schemas"]["InstanceView"][];
            /** @description By their numbers. */
            partitions: components["schemas"]["PartitionView"][];
        };
        /** @description One instance. */
        InstanceView: {
            /**
             * Format: int64
             * @description Loans that its workers hold.
             */
            claimed: number;
            /**
             * Format: int64
             * @description Open HTTP connections.
             */
            connections: number;
            /** @description What its workers do, at most 64 of them. */
            doing: components["schemas"]["WorkerView"][];
            /** @description Commit that it was built from, or `unknown`. */
            gitCommit: string;
            /** @description Where it runs. */
            host: string;
            /** @description Its id. */
            instance: string;
            /** @description What it does. */
            roles: string[];
            /**
             * Format: int64
             * @description Resident memory.
             */
            rssBytes: number;
            /**
             * Format: date-time
             * @description When it was heard of last.
             */
            seenAt: string;
            /**
             * Format: date-time
             * @description Since when.
             */
            startedAt: string;
            /** @description Its version. */
            version: string;
            /**
             * Format: int64
             * @description Workers that it runs.
             */
            workers: number;
            /**
             * Format: int64
             * @description The most workers that it may run.
             */
            workersMax: number;
        };
        /** @description The latency of each step, in microseconds. */
        Latencies: {
            /** @description From the whole body to Redis's confirmation. */
            admit: components["schemas"]["Percentiles"];
            /** @description From the end of processing to Redis's confirmation of the commit, per batch. */
            commit: components["schemas"]["Percentiles"];
            /** @description From the whole body to MongoDB's confirmation. */
            endToEnd: components["schemas"]["Percentiles"];
            /** @description Validation and enrichment of one batch. */
            process: components["schemas"]["Percentiles"];
            /** @description From the whole body to a worker's claim. */
            queueWait: components["schemas"]["Percentiles"];
            /** @description One batch's write to MongoDB, until it is confirmed. */
            record: components["schemas"]["Percentiles"];
        };
        /**
         * @description A loan as a client asks for it. The door checks only that it is an object with a good `loanId`;
         *     a worker checks the rest.
         */
        LoanRequest: {
            /**
             * Format: double
             * @description Above 0, at most two decimals.
             * @example 1169
             */
            amount: number;
            /** @description Who asks. */
            applicant: components["schemas"]["ApplicantRequest"];
            /**
             * Format: int32
             * @description The applicant's score.
             * @example 712
             */
            creditScore: number;
            /**
             * @description An ISO 4217 code, in use or historic; `INR` if there is none.
             * @example DEM
             */
            currency?: string | null;
            /**
             * @description The client's own id of the loan.
             * @example GC-000001
             */
            loanId: string;
            /**
             * @description What it is for.
             * @example radio/television
             */
            purpose: string;
            /**
             * Format: int32
             * @description How many months it runs.
             * @example 6
             */
            termMonths: number;
        };
        /** @description What an accepted loan became. Money is in hundredths of the currency's unit. */
        LoanResult: {
            /**
             * Format: int64
             * @description The amount.
             */
            amountMinor: number;
            /**
             * Format: int32
             * @description The yearly rate of the band.
             */
            annualRateBasisPoints: number;
            /** @description Who asks. */
            applicant: components["schemas"]["ApplicantResult"];
            /**
             * Format: int32
             * @description Which attempt was accepted, 1 first.
             */
            attempt: number;
            /**
             * Format: int32
             * @description The applicant's score.
             */
            creditScore: number;
            /** @description ISO 4217 code. */
            currency: string;
            /**
             * Format: int64
             * @description A year's instalments against a year's income, where that is known.
             */
            debtToIncomeBasisPoints?: number | null;
            /** @description `approve`, `refer` or `decline`. */
            decision: string;
            /** @description Stands for the loan's content. */
            fingerprint: string;
            /**
             * Format: int64
             * @description The monthly instalment.
             */
            monthlyInstalmentMinor: number;
            /**
             * Format: date-time
             * @description When a worker decided it.
             */
            processedAt: string;
            /** @description What it is for. */
            purpose: string;
            /**
             * Format: date-time
             * @description When the loan's body had come in whole.
             */
            receivedAt: string;
            /** @description The risk band. */
            riskBand: string;
            /**
             * Format: int32
             * @description How many months it runs.
             */
            termMonths: number;
        };
        /**
         * @description Where a loan is.
         * @enum {string}
         */
        LoanStatus: "queued" | "processing" | "accepted" | "failed" | "recorded" | "discarded";
        /** @description One loan: where it is, how it came there, and what became of it. */
        LoanView: {
            /** @description The attempts that failed, newest first. */
            attempts: components["schemas"]["FailedAttempt"][];
            /** @description The content of a failed loan as it was sent, for an administrator alone. */
            body?: string | null;
            discarded?: null | components["schemas"]["Discarded"];
            /** @description The loan's id. */
            loanId: string;
            /**
             * Format: date-time
             * @description When its body had come in whole.
             */
            receivedAt?: string | null;
            result?: null | components["schemas"]["LoanResult"];
            /** @description Where it is now. */
            status: components["schemas"]["LoanStatus"];
            /** @description The steps of the attempt that is under way or was the last, oldest first. */
            steps: components["schemas"]["Step"][];
        };
        /** @description One WebSocket message. */
        Message: {
            /** @description The points. */
            points: components["schemas"]["Point"][];
            /** @enum {string} */
            type: "history";
        } | {
            /** @description The snapshot. */
            snapshot: components["schemas"]["Snapshot"];
            /** @enum {string} */
            type: "snapshot";
        } | {
            /** @description The event. */
            event: components["schemas"]["Event"];
            /** @enum {string} */
            type: "event";
        } | {
            /** @description The work of the last day, at most 70. */
            tasks: components["schemas"]["Task"][];
            /** @enum {string} */
            type: "tasks";
        };
        /** @description MongoDB as the service sees it. */
        MongoState: {
            /** @description Whether it answered last. */
            up: boolean;
            /** @description Its version. */
            version: string;
        };
        /** @description One partition of the queue. */
        PartitionView: {
            /**
             * Format: int64
             * @description Failed loans that wait for an operator.
             */
            failedWaiting: number;
            /**
             * Format: int64
             * @description Loans that a worker holds.
             */
            inFlight: number;
            /**
             * Format: int64
             * @description Age of the oldest loan that no worker has decided.
             */
            oldestWaitingMs: number;
            /**
             * Format: int64
             * @description Its number, 0 first.
             */
            partition: number;
            /**
             * Format: int64
             * @description Loans that wait for a worker.
             */
            queueDepth: number;
            /** @description Whether Redis answers for it. */
            redisUp: boolean;
            /**
             * Format: int64
             * @description Results that MongoDB has not confirmed.
             */
            unrecorded: number;
        };
        /** @description Percentiles of one latency, in microseconds. All zero while `count` is zero. */
        Percentiles: {
            /** Format: int64 */
            count: number;
            /** Format: int64 */
            max: number;
            /** Format: int64 */
            p50: number;
            /** Format: int64 */
            p90: number;
            /** Format: int64 */
            p99: number;
            /** Format: int64 */
            p999: number;
        };
        /** @description One second of the history. Latencies are of that second, 0 when there was nothing to measure. */
        Point: {
            /** Format: int64 */
            admitP50Us: number;
            /** Format: int64 */
            admitP99Us: number;
            /** Format: int64 */
            admitted: number;
            /** Format: int64 */
            atMs: number;
            /** Format: int64 */
            endToEndP50Us: number;
            /** Format: int64 */
            endToEndP99Us: number;
            /** Format: int64 */
            failed: number;
            /** Format: int64 */
            inFlight: number;
            /** Format: int64 */
            processed: number;
            /** Format: int64 */
            queueDepth: number;
            /** Format: int64 */
            received: number;
            /** Format: int64 */
            recorded: number;
            /** Format: int64 */
            unrecorded: number;
            /** Format: int64 */
            workers: number;
        };
        /** @description Why a request was refused: problem details, RFC 9457. */
        ProblemDetails: {
            /** @description What happened and what to do, for a person. */
            detail: string;
            /** @description Names the kind of problem, for a program. Never changes its meaning. */
            errorType: string;
            /**
             * Format: int64
             * @description How many loans there are, where that is more than were confirmed.
             */
            found?: number | null;
            /** @description The query parameter that is wrong. */
            parameter?: string | null;
            /**
             * Format: int32
             * @description The status code.
             */
            status: number;
            /** @description The status code in words. */
            title: string;
            /**
             * @description Names the kind of problem.
             * @example urn:sluice:problem:overloaded
             */
            type: string;
        };
        /** @description What this process uses. */
        ProcessState: {
            /**
             * Format: double
             * @description Processor time since the start, user and system.
             */
            cpuSeconds: number;
            /**
             * Format: int64
             * @description Open file descriptors.
             */
            openFiles: number;
            /**
             * Format: int64
             * @description Resident memory.
             */
            rssBytes: number;
        };
        /** @description The answer to a loan that is durable in the queue. */
        Queued: {
            /** @description The loan's id. */
            loanId: string;
            /** @description Whether this very loan was known already. It is counted once all the same. */
            replayed: boolean;
            /** @description Always `queued`. */
            status: components["schemas"]["LoanStatus"];
        };
        /** @description Changes per second. */
        Rates: {
            /**
             * Format: double
             * @description Loans admitted.
             */
            admitted: number;
            /**
             * Format: double
             * @description Loans processed.
             */
            processed: number;
            /**
             * Format: double
             * @description Requests received by this instance.
             */
            received: number;
            /**
             * Format: double
             * @description Loans and failures confirmed by MongoDB.
             */
            recorded: number;
        };
        /** @description What a client waits for and what a loan takes, over the last whole second: what a chart shows. */
        RecentLatencies: {
            /** @description From the whole body to Redis's confirmation. */
            admit: components["schemas"]["Percentiles"];
            /** @description From the whole body to MongoDB's confirmation. */
            endToEnd: components["schemas"]["Percentiles"];
        };
        /** @description Redis as the service sees it: of a cluster all nodes together. */
        RedisState: {
            /** @description `always`, `everysec`, `no`, or `off` without an append-only file. */
            appendfsync: string;
            /** @description Whether what it confirms survives `kill -9` and a power cut: `weaknesses` is empty. */
            durable: boolean;
            /** @description Whether it is a Redis Cluster. */
            isCluster?: boolean;
            /**
             * Format: int64
             * @description `maxmemory`, 0 for none.
             */
            maxMemoryBytes: number;
            /** @description The replicas of a cluster. */
            replicas?: components["schemas"]["Replica"][];
            /** @description The masters that hold the partitions; one without a cluster. */
            shards?: components["schemas"]["Shard"][];
            /** @description Why it takes no loans, while it does not; of a cluster why a shard does not. */
            trouble?: string | null;
            /** @description Whether it answered last and takes writes; of a cluster at least one shard. */
            up: boolean;
            /**
             * Format: int64
             * @description `used_memory`.
             */
            usedMemoryBytes: number;
            /** @description Its version; where nodes differ all of them, with commas between. */
            version: string;
            /** @description Each setting by which a confirmed loan could be lost, with what it has to be. */
            weaknesses?: string[];
        };
        /** @description A node that follows a shard's master. */
        Replica: {
            /** @description Its address. */
            address: string;
            /** @description Whether it answers. */
            up: boolean;
        };
        /** @description How many failed loans a retry moved. */
        Retried: {
            /**
             * Format: int64
             * @description Failed loans that match and were not reached: ask again.
             */
            remaining: number;
            /**
             * Format: int64
             * @description Queued again, each as a new attempt.
             */
            requeued: number;
            /**
             * Format: int64
             * @description Asked for, but not failed: unknown, under way, accepted, or taken by another retry.
             */
            skipped: number;
        };
        /**
         * @description Which failed loans to queue again: all, those of a category, or those of these ids. A
         *     correction takes the place of one loan's content.
         */
        RetryRequest: {
            correction?: null | components["schemas"]["LoanRequest"];
            errorType?: null | components["schemas"]["ErrorType"];
            /**
             * Format: int64
             * @description Most loans to queue again in this call.
             */
            limit?: number | null;
            /** @description Only these loans. */
            loanIds?: string[] | null;
        };
        /** @description What a load run tells: where it is, what its clients see. */
        RunMarker: {
            /** @description What happened. */
            kind: components["schemas"]["RunMarkerKind"];
            /** @description The phase's or the fault's name. */
            name?: string | null;
            responseUs?: null | components["schemas"]["Percentiles"];
            /** @description Names the run. */
            runId: string;
            /** @description The scenario's name. */
            scenario: string;
            /** @description The verdict, at the end. */
            verdict?: string | null;
        };
        /**
         * @description What a load run's marker marks.
         * @enum {string}
         */
        RunMarkerKind: "start" | "phase" | "fault" | "latency" | "end";
        /** @description Whose token was sent. */
        Session: {
            /** @description Whether it may change something. */
            admin: boolean;
            /** @description The name that goes with the token. */
            name: string;
            /** @description What it may do. */
            role: components["schemas"]["TokenRole"];
        };
        /** @description A Redis with the partitions that it holds. */
        Shard: {
            /** @description Its address. */
            address: string;
            /** @description Whether what it confirms survives `kill -9`, a power cut, and in a cluster the loss of a master. */
            durable: boolean;
            /**
             * Format: int64
             * @description `maxmemory`, 0 for none.
             */
            maxMemoryBytes: number;
            /**
             * Format: int64
             * @description Age of the oldest loan that no worker has decided, in milliseconds; 0 if there is none.
             */
            oldestWaitingMs: number;
            /** @description Its partitions' numbers. */
            partitions: number[];
            /**
             * Format: int64
             * @description Loans that wait for a worker.
             */
            queueDepth: number;
            /** @description Why it takes none, while it does not. */
            trouble?: string | null;
            /**
             * Format: int64
             * @description Results that MongoDB has not confirmed yet.
             */
            unrecorded: number;
            /** @description Whether it takes loans. */
            up: boolean;
            /**
             * Format: int64
             * @description `used_memory`.
             */
            usedMemoryBytes: number;
            /** @description Its version. */
            version: string;
        };
        /** @description Everything that is known about the service at one instant. */
        Snapshot: {
            /**
             * Format: int64
             * @description When it was taken, in milliseconds since the Unix epoch.
             */
            atMs: number;
            /** @description Sums since the queue was created. */
            counters: components["schemas"]["Counters"];
            /** @description What is amiss, the oldest first. Nothing when all is well. */
            degraded?: components["schemas"]["Degraded"][];
            /** @description Values at this instant. */
            gauges: components["schemas"]["Gauges"];
            /** @description Commit that the binary was built from, or `unknown`. */
            gitCommit: string;
            /** @description The instance that took it. */
            instance: string;
            /** @description Latencies in microseconds since the process started. */
            latencyUs: components["schemas"]["Latencies"];
            /** @description How MongoDB is. */
            mongodb: components["schemas"]["MongoState"];
            /** @description What the process uses. */
            process: components["schemas"]["ProcessState"];
            /** @description Changes per second over the last second. */
            rates: components["schemas"]["Rates"];
            /** @description Latencies in microseconds over the last whole second. */
            recentLatencyUs: components["schemas"]["RecentLatencies"];
            /** @description How Redis is. */
            redis: components["schemas"]["RedisState"];
            /**
             * Format: double
             * @description Seconds since the process started.
             */
            uptimeSeconds: number;
            /** @description Version of the service. */
            version: string;
        };
        /** @description One step of a loan. */
        Step: {
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description Which one. */
            step: components["schemas"]["StepKind"];
        };
        /**
         * @description The steps of a loan, in their order.
         * @enum {string}
         */
        StepKind: "received" | "queued" | "claimed" | "processed" | "recorded" | "discarded";
        /** @description Work on many loans. */
        Task: {
            /** @description The name that goes with the operator's token. */
            by: string;
            /**
             * Format: int64
             * @description Loans that it was done with; of an export the rows that were handed on.
             */
            done: number;
            /**
             * Format: date-time
             * @description When it ended.
             */
            endedAt?: string | null;
            /**
             * Format: int64
             * @description Loans that the operator confirmed.
             */
            expected: number;
            /** @description Why it does not go on now, or has failed. */
            fault?: string | null;
            filter?: null | components["schemas"]["FailureFilter"];
            /** @description What is done. */
            kind: components["schemas"]["WorkKind"];
            /**
             * Format: int64
             * @description How many loans were named by their ids.
             */
            named?: number | null;
            /** @description How far it is. */
            phase: components["schemas"]["TaskPhase"];
            /** @description Why, as the operator said. */
            reason?: string | null;
            /**
             * Format: int64
             * @description Loans that are left.
             */
            remaining: number;
            /**
             * Format: int64
             * @description Loans that waited no longer, or were taken by somebody else.
             */
            skipped: number;
            /**
             * Format: date-time
             * @description When it was asked for.
             */
            startedAt: string;
            /** @description Names it. */
            taskId: string;
        };
        /**
         * @description What is done with many failed loans.
         * @enum {string}
         */
        TaskKind: "retry" | "discard";
        /** @description The work of the last day, newest first. */
        TaskList: {
            /** @description At most 50. */
            tasks: components["schemas"]["Task"][];
        };
        /**
         * @description How far work on many loans is.
         * @enum {string}
         */
        TaskPhase: "running" | "stopping" | "stopped" | "done" | "failed";
        /** @description Asks for work on many failed loans: those that a filter finds, or those of these ids. */
        TaskRequest: {
            /**
             * Format: int64
             * @description How many loans the operator was shown and has confirmed; needed for a filter. Nothing begins where there are more.
             */
            expected?: number | null;
            filter?: null | components["schemas"]["FailureFilter"];
            /** @description What is to be done. */
            kind: components["schemas"]["TaskKind"];
            /** @description On these loans. */
            loanIds?: string[] | null;
            /** @description Why; needed for a discard. */
            reason?: string | null;
        };
        /**
         * @description What the holder of a token may do.
         * @enum {string}
         */
        TokenRole: "viewer" | "operator";
        /** @description What a worker does. */
        WorkerView: {
            /**
             * Format: int64
             * @description For how long it has done so.
             */
            forMs: number;
            /**
             * Format: int64
             * @description Loans that it holds.
             */
            loans: number;
            /**
             * Format: int64
             * @description Of which partition they are.
             */
            partition?: number | null;
            /** @description `waiting` or `processing`. */
            state: string;
            /**
             * Format: int64
             * @description Its number in its instance, 1 first.
             */
            worker: number;
        };
        /**
         * @description What is done with many loans.
         * @enum {string}
         */
        WorkKind: "retry" | "discard" | "export";
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    getApiActivity: {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before. */
                cursor?: string;
                /** @description How many on a page. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ActivityPage"];
                };
            };
            /** @description `invalid_parameter`: a parameter of the query is unknown or breaks its rule; `parameter` names it; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiControl: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What holds now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Control"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `queue_unavailable`: Redis gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiControlPause: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What holds now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Control"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `queue_unavailable`: Redis gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiControlResume: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What holds now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Control"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `queue_unavailable`: Redis gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiDownloadsTicket: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The ticket. */
                ticket: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": unknown;
                    "text/csv": unknown;
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `export_expired`: there is no such ticket, or it was used, or its time is over */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_exports`: too many exports are under way; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiErrors: {
        parameters: {
            query?: {
                /** @description The applicant's address begins so; upper and lower case are the same. Needs a token. */
                applicant?: string;
                /** @description The `nextCursor` of the page before. */
                cursor?: string;
                /** @description Of this category. One that nobody knows finds nothing. */
                errorType?: string;
                /** @description A fault is in this field. */
                field?: string;
                /** @description Failed at this instant or later: RFC 3339, or milliseconds since 1970. */
                from?: string;
                /** @description How many on a page. */
                limit?: number;
                /** @description The loan's id begins so. */
                loanId?: string;
                /** @description A fault's rule begins so. */
                rule?: string;
                /** @description Failed before this instant. */
                to?: string;
                /** @description `true`: only what waits for a retry, a correction or a discard. */
                waiting?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorPage"];
                };
            };
            /** @description `invalid_parameter`: a parameter of the query is unknown or breaks its rule; `parameter` names it; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiErrorsCount: {
        parameters: {
            query?: {
                /** @description The applicant's address begins so; upper and lower case are the same. Needs a token. */
                applicant?: string;
                /** @description Of this category. One that nobody knows finds nothing. */
                errorType?: string;
                /** @description A fault is in this field. */
                field?: string;
                /** @description Failed at this instant or later: RFC 3339, or milliseconds since 1970. */
                from?: string;
                /** @description The loan's id begins so. */
                loanId?: string;
                /** @description A fault's rule begins so. */
                rule?: string;
                /** @description Failed before this instant. */
                to?: string;
                /** @description `true`: only what waits for a retry, a correction or a discard. */
                waiting?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How many. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FailureCount"];
                };
            };
            /** @description `invalid_parameter`: a parameter of the query is unknown or breaks its rule; `parameter` names it; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiExports: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExportRequest"];
            };
        };
        responses: {
            /** @description The link. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExportTicket"];
                };
            };
            /** @description `invalid_body`: the body says what cannot be done; `truncated_body`: the body ended before its announced length; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `request_timeout`: the body did not come in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `body_too_large`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unsupported_media_type`: the body is not JSON by its type, or not in UTF-8, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_slow_senders`: too many bodies are on their way from clients that send slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiExportsErrors: {
        parameters: {
            query?: {
                /** @description The applicant's address begins so; upper and lower case are the same. Needs a token. */
                applicant?: string;
                /** @description Of this category. One that nobody knows finds nothing. */
                errorType?: string;
                /** @description A fault is in this field. */
                field?: string;
                /** @description `csv` or `ndjson`. */
                format?: "csv" | "ndjson";
                /** @description Failed at this instant or later: RFC 3339, or milliseconds since 1970. */
                from?: string;
                /** @description The loan's id begins so. */
                loanId?: string;
                /** @description A fault's rule begins so. */
                rule?: string;
                /** @description Failed before this instant. */
                to?: string;
                /** @description `true`: only what waits for a retry, a correction or a discard. */
                waiting?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": unknown;
                    "text/csv": unknown;
                };
            };
            /** @description `invalid_parameter`: a parameter of the query is unknown or breaks its rule; `parameter` names it; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_exports`: too many exports are under way; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiExportsLoans: {
        parameters: {
            query?: {
                /** @description `csv` or `ndjson`. */
                format?: "csv" | "ndjson";
                /** @description Decided at this instant or later. */
                from?: string;
                /** @description Decided before this instant. */
                to?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": unknown;
                    "text/csv": unknown;
                };
            };
            /** @description `invalid_parameter`: a parameter of the query is unknown or breaks its rule; `parameter` names it; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_exports`: too many exports are under way; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiHistory: {
        parameters: {
            query?: {
                /** @description How far back. */
                minutes?: 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 16 | 17 | 18 | 19 | 20 | 21 | 22 | 23 | 24 | 25 | 26 | 27 | 28 | 29 | 30 | 1440 | 10080;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The past, oldest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["History"];
                };
            };
            /** @description `invalid_parameter`: a parameter of the query is unknown or breaks its rule; `parameter` names it; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiInstances: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Those that are alive. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InstanceList"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiLoansLoanId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The loan's id. The paths below `/api/loans/` that name a call answer GET for the loan of that name. */
                loanId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The loan. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoanView"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_found`: there is nothing of this name */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `queue_unavailable`: Redis gave no answer; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiLoansRequest: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The loan. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoanView"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_found`: there is nothing of this name */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `queue_unavailable`: Redis gave no answer; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiLoansRequest: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LoanRequest"];
            };
        };
        responses: {
            /** @description Durable in the queue, or known already. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Queued"];
                };
            };
            /** @description `invalid_utf8`: the body is not UTF-8; `malformed_json`: the body is not JSON; `too_deep`: the body is nested too deep; `not_an_object`: the body is not a JSON object; `duplicate_key`: a key stands twice in one object; `invalid_loan_id`: `loanId` is missing or breaks its rule; `truncated_body`: the body ended before its announced length; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_found`: there is nothing of this name */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `request_timeout`: the body did not come in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `body_too_large`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unsupported_media_type`: the body is not JSON by its type, or not in UTF-8, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `loan_id_conflict`: the id is known with other content */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_senders`: too many bodies are on their way from clients that send slowly; `paused`: ingestion is paused; `overloaded`: the backlog is full; `queue_unavailable`: Redis gave no answer; `draining`: this instance is stopping; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiLoansRetry: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The loan. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoanView"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_found`: there is nothing of this name */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `queue_unavailable`: Redis gave no answer; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    patchApiLoansRetry: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RetryRequest"];
            };
        };
        responses: {
            /** @description What was done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Retried"];
                };
            };
            /** @description `invalid_body`: the body says what cannot be done; `invalid_utf8`: the body is not UTF-8; `malformed_json`: the body is not JSON; `too_deep`: the body is nested too deep; `not_an_object`: the body is not a JSON object; `duplicate_key`: a key stands twice in one object; `invalid_loan_id`: `loanId` is missing or breaks its rule; `truncated_body`: the body ended before its announced length; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `request_timeout`: the body did not come in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `body_too_large`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unsupported_media_type`: the body is not JSON by its type, or not in UTF-8, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_slow_senders`: too many bodies are on their way from clients that send slowly; `queue_unavailable`: Redis gave no answer; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The latest snapshot. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Snapshot"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiRuns: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RunMarker"];
            };
        };
        responses: {
            /** @description It was told. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `invalid_body`: the body says what cannot be done; `truncated_body`: the body ended before its announced length; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `request_timeout`: the body did not come in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `body_too_large`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unsupported_media_type`: the body is not JSON by its type, or not in UTF-8, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_slow_senders`: too many bodies are on their way from clients that send slowly; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiSession: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Whose it is, and what it may do. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiTasks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description At most 50. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskList"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiTasks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TaskRequest"];
            };
        };
        responses: {
            /** @description It is taken up. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            /** @description `invalid_body`: the body says what cannot be done; `truncated_body`: the body ended before its announced length; `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `request_timeout`: the body did not come in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `task_running`: another task of this kind is not over yet; `more_than_confirmed`: there are more loans than were confirmed; `found` says how many */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `body_too_large`: the body is too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unsupported_media_type`: the body is not JSON by its type, or not in UTF-8, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_slow_senders`: too many bodies are on their way from clients that send slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getApiTasksTaskId: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The task's id. */
                taskId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The task. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_found`: there is nothing of this name */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    postApiTasksTaskIdStop: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The task's id. */
                taskId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The task. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_found`: there is nothing of this name */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `task_over`: the task has ended */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unreadable_record`: MongoDB holds a record that this version cannot read */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `store_unavailable`: MongoDB gave no answer; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getHealthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It runs. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The figures. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/openmetrics-text; version=1.0.0; charset=utf-8": unknown;
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getOpenapiJson: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The description. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getReadyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is ready. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_ready`: this instance cannot do its work; the detail says why; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    getWs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The connection speaks WebSocket from here on. */
            101: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `malformed_request`: the head, or the frame of the body, is not HTTP/1.1 */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unauthorized`: there is no bearer token */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `forbidden`: the token is not known; `role_forbids`: the token's role is too low; `foreign_origin`: a page of another origin may neither change something nor follow */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `method_not_allowed`: the path has other methods */
            405: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `unknown_host`: the service does not answer to the name that the request gives */
            421: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `not_a_web_socket`: the path speaks WebSocket */
            426: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_attempts`: too many wrong tokens of this client wait for their answer */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `head_too_large`: the head of the request is too large */
            431: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description `too_many_slow_readers`: too many answers wait for clients that read slowly; `too_many_web_sockets`: too many WebSocket clients; `too_many_connections`: this client has too many connections */
            503: {
                headers: {
                    /** @description Seconds after which to try again. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
}
