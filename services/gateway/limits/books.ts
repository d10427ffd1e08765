import { Refusal } from "#core/errors.ts";
import type { Clock } from "#runtime/clock.ts";
import type { AuditLog } from "../telemetry/audit-log.ts";
import type { CountedUsage, Meter } from "./count.ts";
import { toRefusal } from "../wire/refuse.ts";

/** The end of one request. Both functions get the reason why it could not be counted, if it could not; neither may throw. */
export interface End {
  readonly usage: CountedUsage;
  /** All but its last bytes has gone out: the client does not feel a millisecond. */
  readonly mayWait?: boolean;
  /** Metrics and the audit line. */
  record(refusal: Refusal | undefined): void;
  /** The last bytes of the answer. */
  answer(refusal: Refusal | undefined): void;
}

/** Ends requests in the order that the law wants: counted in the file, then audited, then answered. */
export interface Books {
  /** What the request used is in the totals at once; the rest follows before the event loop waits again, or a millisecond later. */
  close(end: End): void;
}

export interface BooksOptions {
  readonly meter: Pick<Meter, "stage" | "commit">;
  readonly audit: AuditLog;
  readonly clock: Pick<Clock, "after">;
  /** Requests in flight. */
  readonly inFlight: () => number;
}

/** How long the last bytes of a stream wait for those of others, where so many are in flight that some will end. */
const WAIT_MS = 1;
const BUSY_REQUESTS = 8;

/**
 * Requests whose upstreams ended in one turn of the event loop share one write of the counter file and one of the log: a write
 * each cost a fifth of all that a request costs. A turn lasts microseconds at rest, and under load it is what saves the time.
 */
export function createBooks({ meter, audit, clock, inFlight }: BooksOptions): Books {
  let open: End[] = [];
  let due: "no" | "later" | "now" = "no";
  const closeAll = (): void => {
    due = "no";
    const ends = open;
    open = [];
    const refusal = commit(meter);
    for (const end of ends) end.record(refusal);
    audit.flush();
    for (const end of ends) end.answer(refusal);
  };
  return {
    close(end) {
      meter.stage(end.usage);
      open.push(end);
      if (due === "now") return;
      if (end.mayWait && inFlight() > BUSY_REQUESTS) {
        if (due === "no") clock.after(WAIT_MS, closeAll);
        due = "later";
        return;
      }
      setImmediate(closeAll);
      due = "now";
    },
  };
}

function commit(meter: Pick<Meter, "commit">): Refusal | undefined {
  try {
    meter.commit();
    return undefined;
  } catch (error) {
    return toRefusal(error);
  }
}
