import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { decodeActingFor } from "#core/acting-for.ts";
import { Refusal } from "#core/errors.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { looksLikeJwt } from "#runtime/service-identity.ts";
import type { KeyRecord, Snapshot } from "./snapshot.ts";

/** A verified caller. Nothing of its credential is kept or sent on. */
export interface Caller {
  readonly kind: "key" | "orchestrator";
  /** Who is acted for: the key's principal, or whom the agent's orchestrator names. */
  readonly principal: string;
  /** Which credential: the key's name, or the orchestrator's account. */
  readonly actor: string;
}

export interface Authenticator {
  /** Throws Refusal 401. */
  authenticate(headers: IncomingHttpHeaders, nowMs: number): Promise<Caller>;
}

interface KnownToken {
  readonly subject: string;
  readonly untilMs: number;
}

/** Credentials that were good a moment ago; when full it is emptied, which costs a hash or a verification each. */
const MEMO_MAX = 1024;
/** A verified token is believed so long without another look. */
const TOKEN_MEMO_MS = 5 * 60_000;

/**
 * Judges credentials by one configuration and one set of revoked hashes: either changes, and a new one with an empty memo
 * takes its place.
 */
export function createAuthenticator(snapshot: Snapshot, revokedKeys: ReadonlySet<string>): Authenticator {
  const keysByCredential = new Map<string, KeyRecord>();
  const tokens = new Map<string, KnownToken>();

  const findKey = (credential: string): KeyRecord | undefined => {
    const known = keysByCredential.get(credential);
    if (known) return known;
    const record = snapshot.keys.get(createHash("sha256").update(credential).digest("hex"));
    if (record) remember(keysByCredential, credential, record);
    return record;
  };

  const verifyToken = async (credential: string, nowMs: number): Promise<string> => {
    const known = tokens.get(credential);
    if (known && nowMs < known.untilMs) return known.subject;
    const verdict = await snapshot.verifyService(credential, nowMs);
    if (!verdict.ok) throw new Refusal("invalid_token", `Cannot accept the token: ${verdict.reason}`);
    const untilMs = Math.min(verdict.expiresAtMs, nowMs + TOKEN_MEMO_MS);
    remember(tokens, credential, { subject: verdict.subject, untilMs });
    return verdict.subject;
  };

  return {
    async authenticate(headers, nowMs) {
      const credential = readCredential(headers);
      const key = findKey(credential);
      if (key) return fromKey(key, revokedKeys, nowMs);
      if (!looksLikeJwt(credential))
        throw new Refusal("invalid_api_key", "Cannot accept the API key as it is not known");
      return fromOrchestrator(await verifyToken(credential, nowMs), headers);
    },
  };
}

function readCredential(headers: IncomingHttpHeaders): string {
  const { authorization } = headers;
  const apiKey = headers["api-key"];
  if (authorization !== undefined) {
    const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (bearer === undefined)
      throw new Refusal(
        "invalid_api_key",
        "Cannot read the credential as authorization must be Bearer and a key or token",
      );
    return bearer;
  }
  if (typeof apiKey === "string" && apiKey.length > 0) return apiKey;
  throw new Refusal("invalid_api_key", "Cannot authenticate as authorization or api-key must be set");
}

function fromKey(key: KeyRecord, revokedKeys: ReadonlySet<string>, nowMs: number): Caller {
  if (revokedKeys.has(key.sha256))
    throw new Refusal("invalid_api_key", `Cannot accept the API key as it was revoked: current key is ${key.name}`);
  if (key.expiresAtMs !== undefined && nowMs >= key.expiresAtMs)
    throw new Refusal("invalid_api_key", `Cannot accept the API key as it has expired: current key is ${key.name}`);
  return { kind: "key", principal: key.principal, actor: key.name };
}

/** The header is believed beside this token alone; from anyone else it is ignored. */
function fromOrchestrator(subject: string, headers: IncomingHttpHeaders): Caller {
  const value = headers[ACTING_FOR_HEADER];
  if (value === undefined) return { kind: "orchestrator", principal: subject, actor: subject };
  const principal = typeof value === "string" ? decodeActingFor(value) : undefined;
  if (principal === undefined)
    throw new Refusal(
      "invalid_value",
      `Cannot read ${ACTING_FOR_HEADER} as it must be percent-encoded printable ASCII`,
    );
  return { kind: "orchestrator", principal, actor: subject };
}

function remember<V>(memo: Map<string, V>, key: string, value: V): void {
  if (memo.size >= MEMO_MAX) memo.clear();
  memo.set(key, value);
}
