import type { AccessToken, TokenCredential } from "@azure/identity";
import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";
import { backoffDelayMs } from "./retry.ts";

/** The scope of Azure OpenAI's data plane. */
export const OPENAI_SCOPE = "https://cognitiveservices.azure.com/.default";

/** An Entra token that is always at hand: fetched and renewed in the background, never while a request waits. */
export interface EntraCredential {
  /** The newest token, as long as it is good; nothing before the first. */
  current(): string | undefined;
  /** Begins to fetch; further calls do nothing. */
  start(): void;
  stop(): void;
  /** Why a pod should wait for its first requests: the first token is still being fetched. Nothing once that was tried. */
  notReady(): string | undefined;
}

export interface EntraCredentialOptions {
  readonly scope: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Where tokens come from; workload identity (the variables AZURE_* that its webhook sets) if absent. */
  readonly source?: () => Promise<TokenCredential>;
}

/** A token is renewed when this part of its life is left, so that an outage of Entra has time to end. */
const RENEW_AT_LEFT = 0.5;
const RENEW_MS_MIN = 30_000;
const BACKOFF = { delayMinMs: 1_000, delayMaxMs: 60_000 };

/** Keeps the old token while a renewal fails: it is good until it expires, whatever the issuer's state. */
export function createEntraCredential(options: EntraCredentialOptions): EntraCredential {
  const { clock, log } = options;
  let token: AccessToken | undefined;
  let state: "idle" | "first" | "tried" = "idle";
  const stopping = new AbortController();

  const renew = async (source: TokenCredential, failures: number): Promise<number> => {
    try {
      const next = await source.getToken(options.scope, { abortSignal: stopping.signal });
      if (next === null) throw new Error("The identity gave no token");
      token = next;
      log.debug({ scope: options.scope }, "Renewed Entra token");
      return 0;
    } catch (error) {
      log.warn(
        { err: toPlainError(error), scope: options.scope, failures: failures + 1 },
        "Failed to renew Entra token",
      );
      return failures + 1;
    }
  };
  const waitMs = (failures: number): number => {
    if (failures > 0) return backoffDelayMs(failures, BACKOFF, options.random) + BACKOFF.delayMinMs;
    return Math.max(RENEW_MS_MIN, ((token?.expiresOnTimestamp ?? 0) - clock.now()) * RENEW_AT_LEFT);
  };
  const run = async (): Promise<void> => {
    const source = await (options.source ?? workloadIdentity)();
    for (let failures = 0; !stopping.signal.aborted;) {
      failures = await renew(source, failures);
      state = "tried";
      await clock.sleep(waitMs(failures), stopping.signal);
    }
  };

  return {
    current: () => (token !== undefined && clock.now() < token.expiresOnTimestamp ? token.token : undefined),
    start() {
      if (state !== "idle") return;
      state = "first";
      run().catch((error: unknown) => {
        state = "tried";
        if (!stopping.signal.aborted) log.error({ err: toPlainError(error) }, "Failed to use the workload identity");
      });
    },
    stop: () => stopping.abort(new Error("Stopped")),
    notReady: () => (state === "first" ? "The first token of the workload identity is being fetched" : undefined),
  };
}

/** Loaded only where it is used: the library costs memory and start-up time that key-based agents need not pay. */
async function workloadIdentity(): Promise<TokenCredential> {
  const { WorkloadIdentityCredential } = await import("@azure/identity");
  return new WorkloadIdentityCredential();
}

/** Name and first line alone: an error of the identity library carries its whole request. */
function toPlainError(error: unknown): Error {
  const plain = new Error(error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : "unknown");
  plain.name = error instanceof Error ? error.name : "Error";
  return plain;
}
