import {
  type Control,
  controlSchema,
  type OrchestratorConfig,
  orchestratorConfigSchema,
} from "#core/api/pod-config.ts";
import type { Clock } from "#runtime/clock.ts";
import { parseConfig } from "#runtime/config.ts";
import type { Counters } from "#runtime/counters.ts";
import { createHolds, type Holds } from "#runtime/holds.ts";
import type { Logger } from "#runtime/log.ts";
import { createServiceVerifier, type ServiceIdentityResult } from "#runtime/service-identity.ts";
import { watchFile } from "#runtime/watched-file.ts";

/** Poll times of docs/decisions/0002. */
const CONTROL_POLL_MS = 500;
const CONFIG_POLL_MS = 2000;

/** What the pod runs with now: the slow and the fast path of change, and our own token. */
export interface Live {
  /** Nothing before the first good config. */
  config(): OrchestratorConfig | undefined;
  /** Nothing before the first grant. */
  control(): Control | undefined;
  /** Our token for the gateway, read again when the file changed. */
  token(): string | undefined;
  /** What this pod may still count under the plan's hard limits. */
  readonly holds: Holds;
  /** Verifies a caller by the identity of the config in force. */
  verify(token: string, nowMs: number): Promise<ServiceIdentityResult>;
  /** Why the pod cannot serve, or why it serves with older content than it was given. */
  missing(): string | undefined;
  /** Looks at all files now, and echoes what is in force into the counter file. */
  refresh(): void;
  /** Polls until stopped. */
  start(): () => void;
}

export interface LiveOptions {
  readonly configFile: string;
  readonly controlFile: string;
  readonly tokenFile: string;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly log: Logger;
}

export function createLive(options: LiveOptions): Live {
  const { clock, log } = options;
  const config = watchFile(options.configFile, (text) =>
    parseConfig(orchestratorConfigSchema, JSON.parse(text), { subject: "config.json" }),
  );
  const control = watchFile(options.controlFile, (text) =>
    parseConfig(controlSchema, JSON.parse(text), { subject: "control.json" }),
  );
  const token = watchFile(options.tokenFile, (text) => text.trim());
  const holds = createHolds({
    total: options.counters.total,
    epoch: options.counters.epoch,
    control: () => control.current()?.value,
    monotonicMs: () => clock.monotonic(),
  });
  let verifier: { readonly digest: string; readonly verify: ReturnType<typeof createServiceVerifier> } | undefined;
  let lastProblem: string | undefined;

  const echo = (): void => {
    try {
      options.counters.echo({
        configDigest: config.current()?.digest ?? "",
        controlDigest: control.current()?.digest ?? "",
        mode: control.current()?.value.mode ?? "",
        leases: holds.echo(),
      });
    } catch (err) {
      log.error({ err }, "Failed to echo what is in force");
    }
  };
  const refresh = (): void => {
    if (config.refresh()) log.info({ digest: config.current()?.digest }, "Applied config");
    if (control.refresh()) log.info({ mode: control.current()?.value.mode }, "Applied control");
    echo();
    const problem = config.problem() ?? control.problem();
    if (problem !== undefined && problem !== lastProblem) log.warn({ problem }, "Refused new content of a file");
    lastProblem = problem;
  };

  return {
    holds,
    config: () => config.current()?.value,
    control: () => control.current()?.value,
    token() {
      token.refresh();
      return token.current()?.value;
    },
    async verify(given, nowMs) {
      const current = config.current();
      if (!current) return { ok: false, reason: "the pod has no config yet" };
      if (verifier?.digest !== current.digest)
        verifier = { digest: current.digest, verify: createServiceVerifier(current.value.serviceIdentity) };
      return verifier.verify(given, nowMs);
    },
    missing() {
      if (!config.current()) return config.problem() ?? "no config yet";
      if (!control.current()) return "no grant yet";
      return undefined;
    },
    refresh,
    start() {
      const cancels = [
        repeat(clock, CONTROL_POLL_MS, () => {
          if (control.refresh()) log.info({ mode: control.current()?.value.mode }, "Applied control");
          echo();
        }),
        repeat(clock, CONFIG_POLL_MS, refresh),
      ];
      return () => cancels.forEach((cancel) => cancel());
    },
  };
}

/** Runs again and again until the returned function is called; a failure is the run's own to handle. */
function repeat(clock: Clock, everyMs: number, run: () => void): () => void {
  let cancel = (): void => {};
  const next = (): void => {
    cancel = clock.after(everyMs, () => {
      run();
      next();
    });
  };
  next();
  return () => cancel();
}
