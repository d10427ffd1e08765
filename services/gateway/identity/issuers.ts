import type { Clock } from "#runtime/clock.ts";
import { type JwtKeys, toJwtKeys } from "#runtime/jwt.ts";
import type { Logger } from "#runtime/log.ts";
import { backoffDelayMs } from "#runtime/retry.ts";
import type { JwksClient, KeySource } from "./jwks.ts";

/** The keys of one issuer, renewed in the background; the last good set stays while the issuer is down. */
export interface IssuerKeys {
  /** The newest good set, the same object until another one came; nothing before the first. */
  current(): JwtKeys | undefined;
  /** Looks now, for a key that the set does not have: at most once a minute. The set that is then the newest. */
  renew(): Promise<JwtKeys | undefined>;
  /** Whether the newest look failed: an unknown key may then be a good one. */
  isStale(): boolean;
}

/** The issuers of the configuration. */
export interface Issuers {
  /** Begins with the issuers that are new, forgets those that are not named any more. */
  retain(sources: readonly KeySource[]): void;
  keysOf(source: KeySource): IssuerKeys | undefined;
  /** How old the keys of each issuer are; since it was first looked for while there are none. */
  ages(): readonly { readonly issuer: string; readonly ageMs: number }[];
  /** Why a pod that has just started should wait: the first keys are being fetched. Never again once it was ready. */
  notReady(): string | undefined;
  stop(): Promise<void>;
}

export interface IssuersOptions {
  readonly client: JwksClient;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** After each look. */
  readonly note?: (issuer: string, outcome: "ok" | "failed") => void;
}

/** Issuers publish a key hours before they sign with it; a key that was withdrawn is believed no longer than this. */
const REFRESH_MS = 10 * 60_000;
const UNKNOWN_KEY_MS = 60_000;
const BACKOFF = { delayMinMs: 1_000, delayMaxMs: 60_000 };
/** Discovery and keys together. */
const FETCH_MS = 10_000;
/** Requests that wait for one look; more are judged by the keys at hand, so that forged key ids cannot fill the pod. */
const WAITERS_MAX = 32;

interface WatchedIssuer extends IssuerKeys {
  readonly issuer: string;
  readonly ageMs: () => number;
  readonly isTried: () => boolean;
  stop(): void;
}

export function createIssuers(options: IssuersOptions): Issuers {
  const watched = new Map<string, WatchedIssuer>();
  let wasReady = false;
  return {
    retain(sources) {
      const ids = new Set(sources.map(idOf));
      for (const [id, issuer] of watched) {
        if (ids.has(id)) continue;
        watched.delete(id);
        issuer.stop();
      }
      for (const source of sources)
        if (!watched.has(idOf(source))) watched.set(idOf(source), watchIssuer(source, options));
    },
    keysOf: (source) => watched.get(idOf(source)),
    ages: () => [...watched.values()].map(({ issuer, ageMs }) => ({ issuer, ageMs: ageMs() })),
    notReady() {
      wasReady ||= [...watched.values()].every((issuer) => issuer.isTried());
      return wasReady ? undefined : "The keys of an issuer are being fetched";
    },
    async stop() {
      for (const issuer of watched.values()) issuer.stop();
      watched.clear();
      await options.client.close();
    },
  };
}

function idOf(source: KeySource): string {
  return `${source.issuer} ${source.jwksUri ?? ""}`;
}

function watchIssuer(source: KeySource, options: IssuersOptions): WatchedIssuer {
  const { clock, log, client } = options;
  const stopping = new AbortController();
  let keys: { readonly set: JwtKeys; readonly text: string } | undefined;
  let problem: string | undefined;
  let isTried = false;
  let looking: Promise<void> | undefined;
  let waiters = 0;
  let askedMs = -Infinity;
  let fetchedMs = clock.monotonic();

  const look = async (): Promise<void> => {
    const timeout = new AbortController();
    const cancel = clock.after(FETCH_MS, () => timeout.abort(new Error(`No answer within ${FETCH_MS} ms`)));
    try {
      const found = await client.fetch(source, AbortSignal.any([stopping.signal, timeout.signal]));
      const text = JSON.stringify(found);
      if (text !== keys?.text) {
        keys = { set: toJwtKeys(found), text };
        log.info({ issuer: source.issuer, kids: found.map((key) => key["kid"]) }, "Applied keys of issuer");
      }
      problem = undefined;
      fetchedMs = clock.monotonic();
      options.note?.(source.issuer, "ok");
    } catch (err) {
      problem = err instanceof Error ? err.message : String(err);
      if (stopping.signal.aborted) return;
      options.note?.(source.issuer, "failed");
      log.warn({ issuer: source.issuer, problem, hasKeys: keys !== undefined }, "Failed to fetch keys of issuer");
    } finally {
      cancel();
      isTried = true;
      looking = undefined;
    }
  };
  const lookOnce = (): Promise<void> => (looking ??= look());
  const run = async (): Promise<void> => {
    for (let failures = 0; !stopping.signal.aborted;) {
      await lookOnce();
      failures = problem === undefined ? 0 : failures + 1;
      const waitMs =
        failures === 0 ? REFRESH_MS : BACKOFF.delayMinMs + backoffDelayMs(failures, BACKOFF, options.random);
      await clock.sleep(waitMs, stopping.signal).catch(() => undefined);
    }
  };
  void run();
  return {
    issuer: source.issuer,
    ageMs: () => clock.monotonic() - fetchedMs,
    current: () => keys?.set,
    async renew() {
      if (looking === undefined) {
        if (clock.monotonic() - askedMs < UNKNOWN_KEY_MS) return keys?.set;
        askedMs = clock.monotonic();
      }
      if (waiters >= WAITERS_MAX) return keys?.set;
      waiters += 1;
      await lookOnce();
      waiters -= 1;
      return keys?.set;
    },
    isStale: () => problem !== undefined,
    isTried: () => isTried,
    stop: () => stopping.abort(new Error("Stopped")),
  };
}
