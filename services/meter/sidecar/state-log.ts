import { join } from "node:path";
import { sidecarStateSchema, type SidecarState } from "#core/sidecar-fold.ts";
import { openJournal } from "#runtime/journal.ts";
import type { Logger } from "#runtime/log.ts";

export interface StateLog {
  /** The newest state on disk, if it can be trusted. */
  readonly restored: SidecarState | undefined;
  /** The disk holds every state that was published: nothing newer can stand in the PodUsage. */
  readonly isComplete: boolean;
  /** False when it cannot be written; counting goes on, for PodUsage is the other copy. */
  store(state: SidecarState): boolean;
  close(): void;
}

/** The checksummed log of a sidecar's states in its own folder. */
export function openStateLog(folder: string, log: Pick<Logger, "warn" | "error">): StateLog {
  const journal = openJournal({ file: join(folder, "usage.log") });
  const restored = journal.newest ? parseState(journal.newest) : undefined;
  if (journal.condition === "Torn" || journal.condition === "Damaged" || (journal.newest && !restored))
    log.warn({ condition: journal.condition }, "Found a damaged log");
  return {
    restored,
    isComplete: journal.condition === "Whole" && restored !== undefined,
    store(state) {
      try {
        journal.append(new TextEncoder().encode(JSON.stringify(state)));
        return true;
      } catch (err) {
        log.error({ err }, "Failed to write the log");
        return false;
      }
    },
    close: () => journal.close(),
  };
}

function parseState(payload: Uint8Array): SidecarState | undefined {
  try {
    return sidecarStateSchema.safeParse(JSON.parse(new TextDecoder().decode(payload))).data;
  } catch {
    return undefined;
  }
}
