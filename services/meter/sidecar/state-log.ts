import { join } from "node:path";
import { sidecarStateSchema, type SidecarState } from "#core/sidecar-fold.ts";
import { type Journal, openJournal } from "#runtime/journal.ts";
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

/**
 * The checksummed log of a sidecar's states in its own folder. Never throws: without a log that can be opened the sidecar
 * goes on from its PodUsage, and tries to open one again with the next state.
 */
export function openStateLog(folder: string, log: Pick<Logger, "warn" | "error">): StateLog {
  const file = join(folder, "usage.log");
  let journal = tryOpen(file, log);
  const restored = journal?.newest ? parseState(journal.newest) : undefined;
  const isComplete = journal?.condition === "Whole" && restored !== undefined;
  if (journal && journal.condition !== "New" && !isComplete)
    log.warn({ condition: journal.condition }, "Found a damaged log");
  return {
    restored,
    isComplete,
    store(state) {
      journal ??= tryOpen(file, log);
      try {
        journal?.append(new TextEncoder().encode(JSON.stringify(state)));
        return journal !== undefined;
      } catch (err) {
        log.error({ err }, "Failed to write the log");
        return false;
      }
    },
    close: () => journal?.close(),
  };
}

function tryOpen(file: string, log: Pick<Logger, "error">): Journal | undefined {
  try {
    return openJournal({ file });
  } catch (err) {
    log.error({ err }, "Failed to open the log");
    return undefined;
  }
}

function parseState(payload: Uint8Array): SidecarState | undefined {
  try {
    return sidecarStateSchema.safeParse(JSON.parse(new TextDecoder().decode(payload))).data;
  } catch {
    return undefined;
  }
}
