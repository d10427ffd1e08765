import { Refusal } from "#core/errors.ts";
import type { AuditLog } from "./audit-log.ts";
import type { CountedUsage, Meter } from "./count.ts";
import { toRefusal } from "./refuse.ts";

/** The end of one request. Both functions get the reason why it could not be counted, if it could not; neither may throw. */
export interface End {
  readonly usage: CountedUsage;
  /** Metrics and the audit line. */
  record(refusal: Refusal | undefined): void;
  /** The last bytes of the answer. */
  answer(refusal: Refusal | undefined): void;
}

/** Ends requests in the order that the law wants: counted in the file, then audited, then answered. */
export interface Books {
  /** What the request used is in the totals at once; the rest follows before the event loop waits again. */
  close(end: End): void;
}

/**
 * Requests whose upstreams ended in one turn of the event loop share one write of the counter file and one of the log: a write
 * each cost a fifth of all that a request costs. A turn lasts microseconds at rest, and under load it is what saves the time.
 */
export function createBooks(meter: Pick<Meter, "stage" | "commit">, audit: AuditLog): Books {
  let open: End[] = [];
  const closeAll = (): void => {
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
      if (open.push(end) === 1) setImmediate(closeAll);
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
