import { hash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { decodeActingFor } from "#core/acting-for.ts";
import { Refusal } from "#core/errors.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { looksLikeJwt } from "#runtime/jwt.ts";
import type { Issuers } from "./issuers.ts";
import { createMemo } from "./memo.ts";
import type { KeyRecord, Snapshot } from "../snapshot.ts";
import { createTokenVerifier, type GoodToken, type TokenBearer } from "./tokens.ts";

/** A verified caller. Nothing of its credential is kept or sent on. */
export interface Caller {
  readonly kind: "key" | "token" | "orchestrator";
  /** Who is acted for: the key's or the token's principal, or whom the agent's orchestrator names. */
  readonly principal: string;
  /** Which credential: the key's name, the token's application, or the orchestrator's account. */
  readonly actor: string;
}

export interface Authenticator {
  /** Throws Refusal 401 or 403; 503 when an issuer's keys cannot be had. */
  authenticate(headers: IncomingHttpHeaders, nowMs: number): Promise<Caller>;
}

interface KnownToken extends GoodToken {
  readonly untilMs: number;
}

/** Credentials that were good a moment ago, by use; the one not used for longest costs a hash or a verification again. */
const KEYS_MAX = 1024;
const TOKENS_MAX = 4096;
/** A verified token is believed so long without another look. */
const TOKEN_MEMO_MS = 5 * 60_000;
/** Longer headers hold tokens: a Map reads all of a key to find it. */
const KEY_CHARACTERS_MAX = 256;

export interface AuthenticatorOptions {
  readonly snapshot: Pick<Snapshot, "config" | "keys" | "verifyService">;
  /** SHA-256 of keys, in hex. */
  readonly revokedKeys: ReadonlySet<string>;
  readonly issuers: Issuers;
}

/**
 * Judges credentials by one configuration and one set of revoked hashes: either changes, and a new one with an empty memo
 * takes its place.
 */
export function createAuthenticator({ snapshot, revokedKeys, issuers }: AuthenticatorOptions): Authenticator {
  // By the raw header: the same text in the other one is another credential.
  const keys = { authorization: createMemo<KeyRecord>(KEYS_MAX), "api-key": createMemo<KeyRecord>(KEYS_MAX) };
  const tokens = createMemo<KnownToken>(TOKENS_MAX);
  const verify = createTokenVerifier(snapshot, issuers);

  const findToken = (digest: string, nowMs: number): TokenBearer | undefined => {
    const known = tokens.get(digest);
    if (known === undefined) return undefined;
    if (nowMs < known.untilMs && known.isCurrent()) return known.bearer;
    tokens.delete(digest);
    return undefined;
  };
  const verifyToken = async (credential: string, digest: string, nowMs: number): Promise<TokenBearer> => {
    if (!looksLikeJwt(credential)) throw new Refusal("invalid_api_key", "Cannot accept the API key as it is not known");
    const good = await verify(credential, nowMs);
    tokens.set(digest, { ...good, untilMs: Math.min(good.expiresAtMs, nowMs + TOKEN_MEMO_MS) });
    return good.bearer;
  };

  return {
    async authenticate(headers, nowMs) {
      const { header, value } = readHeader(headers);
      const isShort = value.length <= KEY_CHARACTERS_MAX;
      const remembered = isShort ? keys[header].get(value) : undefined;
      if (remembered) return fromKey(remembered, revokedKeys, nowMs);
      const credential = header === "authorization" ? readBearer(value) : value;
      const digest = hash("sha256", credential);
      const known = findToken(digest, nowMs);
      if (known) return fromBearer(known, headers);
      const key = snapshot.keys.get(digest);
      if (key === undefined) return fromBearer(await verifyToken(credential, digest, nowMs), headers);
      if (isShort) keys[header].set(value, key);
      return fromKey(key, revokedKeys, nowMs);
    },
  };
}

interface CredentialHeader {
  readonly header: "authorization" | "api-key";
  readonly value: string;
}

function readHeader(headers: IncomingHttpHeaders): CredentialHeader {
  const { authorization, "api-key": apiKey } = headers;
  if (authorization !== undefined) return { header: "authorization", value: authorization };
  if (typeof apiKey === "string" && apiKey.length > 0) return { header: "api-key", value: apiKey };
  throw new Refusal("invalid_api_key", "Cannot authenticate as authorization or api-key must be set");
}

function readBearer(authorization: string): string {
  // What nearly all clients send. A pattern over a whole token would cost as much as its hash.
  const plain = authorization.startsWith("Bearer ") ? authorization.slice(7) : undefined;
  if (plain !== undefined && plain.startsWith("eyJ")) return plain;
  const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (bearer !== undefined) return bearer;
  throw new Refusal("invalid_api_key", "Cannot read the credential as authorization must be Bearer and a key or token");
}

function fromKey(key: KeyRecord, revokedKeys: ReadonlySet<string>, nowMs: number): Caller {
  if (revokedKeys.has(key.sha256))
    throw new Refusal("invalid_api_key", `Cannot accept the API key as it was revoked: current key is ${key.name}`);
  if (key.expiresAtMs !== undefined && nowMs >= key.expiresAtMs)
    throw new Refusal("invalid_api_key", `Cannot accept the API key as it has expired: current key is ${key.name}`);
  return { kind: "key", principal: key.principal, actor: key.name };
}

function fromBearer(bearer: TokenBearer, headers: IncomingHttpHeaders): Caller {
  if (bearer.kind === "orchestrator") return fromOrchestrator(bearer.subject, headers);
  return { kind: "token", ...bearer.identity };
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
