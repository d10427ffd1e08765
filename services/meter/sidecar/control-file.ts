import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Control } from "#core/api/pod-config.ts";
import type { PodUsageSpec } from "#core/api/pod-usage.ts";
import { maxOf } from "#core/shares.ts";
import { earlierOf, type SidecarState } from "#core/sidecar-fold.ts";

/** What the service of this pod obeys. */
export interface ControlFile {
  /** Writes the control of a spec when it differs from the file. True when it was written. Throws when it cannot be. */
  write(spec: PodUsageSpec, state: Folded): boolean;
  /** A control is there: the service may serve. */
  isWritten(): boolean;
}

type Folded = Pick<SidecarState, "epoch" | "totals" | "last">;

/** control.json, replaced as a whole by a rename: the service sees the old one or the new one. */
export function openControlFile(file: string): ControlFile {
  let written = existsSync(file) ? readFileSync(file, "utf8") : "";
  return {
    write(spec, state) {
      const control = toControl(spec, state);
      if (!control) return false;
      const text = JSON.stringify(control);
      if (text === written) return false;
      writeFileSync(`${file}.tmp`, text, { mode: 0o644 });
      renameSync(`${file}.tmp`, file);
      written = text;
      return true;
    },
    isWritten: () => written !== "",
  };
}

/** Before the first grant there is nothing to obey, and the service is not ready. */
export function toControl(spec: PodUsageSpec, state: Folded): Control | undefined {
  const { control, grants } = spec;
  if (!grants) return undefined;
  return {
    mode: control?.mode ?? "Running",
    revokedKeys: control?.revokedKeys ?? [],
    entitlement: grants.entitlement,
    leases: (grants.leases ?? []).map(({ dimension, upTo }) => ({
      dimension,
      upTo: `${maxOf(0n, BigInt(upTo) - earlierOf(state, dimension))}`,
    })),
    epoch: state.epoch,
    term: grants.term,
    clockOffsetSeconds: grants.clockOffsetSeconds,
  };
}
