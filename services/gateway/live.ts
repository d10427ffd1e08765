import { type Control, controlSchema } from "#core/api/pod-config.ts";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import type { Counters } from "#runtime/counters.ts";
import { createHolds, type Holds } from "#runtime/holds.ts";
import type { Logger } from "#runtime/log.ts";
import { watchFile } from "#runtime/watched-file.ts";
import { type Authenticator, createAuthenticator } from "./identity/auth.ts";
import type { Issuers } from "./identity/issuers.ts";
import { parseSnapshot, type Snapshot } from "./snapshot.ts";

/** What the pod is told, at its two speeds (docs/decisions/0002). A bad new content never replaces a good one. */
export interface Live {
  snapshot(): Snapshot | undefined;
  control(): Control | undefined;
  authenticator(): Authenticator | undefined;
  /** What this pod may still count under the plan's hard limits. */
  readonly holds: Holds;
  /** Why the pod should get no requests, or nothing. */
  notReady(): string | undefined;
  /** Looks at config.json. */
  refreshConfig(): void;
  /** Looks at control.json. */
  refreshControl(): void;
}

export interface LiveOptions {
  readonly configFile: string;
  readonly controlFile: string;
  readonly counters: Pick<Counters, "epoch" | "echo" | "total">;
  readonly issuers: Issuers;
  readonly monotonicMs: () => number;
  readonly log: Logger;
  /** After a new configuration is in force. */
  readonly onSnapshot: (snapshot: Snapshot) => void;
}

export function createLive(options: LiveOptions): Live {
  const { log } = options;
  const config = watchFile(options.configFile, parseSnapshot);
  const control = watchFile(options.controlFile, parseControl);
  let authenticator: Authenticator | undefined;
  const authenticatorOf = keepAuthenticator(options.issuers);
  let told = "";
  const holds = createHolds({
    total: options.counters.total,
    epoch: options.counters.epoch,
    control: () => control.current()?.value,
    monotonicMs: options.monotonicMs,
  });

  /** What is in force, and what it is needed for, in the counter file; written when it changed. */
  const echo = (): void => {
    const snapshot = config.current();
    const order = control.current();
    try {
      options.counters.echo({
        configDigest: snapshot?.digest ?? "",
        ...(order ? { controlDigest: order.digest, mode: order.value.mode } : { controlDigest: "", mode: "" }),
        leases: holds.echo(),
      });
    } catch (err) {
      log.error({ err }, "Failed to store what is in force");
    }
  };
  /** Everything that follows from a change of either file. */
  const apply = (): void => {
    authenticator = authenticatorOf(config.current()?.value, control.current()?.value.revokedKeys ?? []);
    echo();
  };
  const warnOnce = (): void => {
    const problems = [config.problem(), control.problem()].filter((problem) => problem !== undefined).join("; ");
    if (problems !== told && problems !== "") log.warn({ problems }, "Refused mounted files");
    told = problems;
  };

  const current = config.current();
  if (current) options.onSnapshot(current.value);
  apply();
  warnOnce();

  return {
    holds,
    snapshot: () => config.current()?.value,
    control: () => control.current()?.value,
    authenticator: () => authenticator,
    notReady: () => config.problem() ?? control.problem(),
    refreshConfig() {
      if (config.refresh()) {
        const next = config.current();
        if (next) options.onSnapshot(next.value);
        apply();
        log.info({ configDigest: next?.digest }, "Applied config");
      }
      warnOnce();
    },
    refreshControl() {
      if (control.refresh()) {
        apply();
        const next = control.current();
        log.info({ controlDigest: next?.digest, mode: next?.value.mode }, "Applied control");
      } else echo();
      warnOnce();
    },
  };
}

/** Nothing but these two decides who comes in: new leases must not cost everyone a verification. */
function keepAuthenticator(
  issuers: Issuers,
): (snapshot: Snapshot | undefined, revokedKeys: readonly string[]) => Authenticator | undefined {
  let kept: { snapshot: Snapshot; revoked: string; authenticator: Authenticator } | undefined;
  return (snapshot, revokedKeys) => {
    if (snapshot === undefined) return undefined;
    const revoked = revokedKeys.join();
    if (kept?.snapshot !== snapshot || kept.revoked !== revoked)
      kept = {
        snapshot,
        revoked,
        authenticator: createAuthenticator({ snapshot, revokedKeys: new Set(revokedKeys), issuers }),
      };
    return kept.authenticator;
  };
}

function parseControl(text: string): Control {
  return parseConfig(controlSchema, parseJson(text), { subject: "control.json" });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError("control.json", ["(root): must be JSON"]);
  }
}
