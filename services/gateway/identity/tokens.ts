import { decodeJwt } from "jose";
import type { OidcIssuer } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";
import { type JwtKeys, type JwtVerdict, verifyJwt } from "#runtime/jwt.ts";
import { type Identity, judgeClaims, show } from "./claims.ts";
import type { IssuerKeys, Issuers } from "./issuers.ts";
import type { Snapshot } from "../snapshot.ts";

/** What a good token proves. */
export type TokenBearer =
  | { readonly kind: "orchestrator"; readonly subject: string }
  | { readonly kind: "token"; readonly identity: Identity };

export interface GoodToken {
  readonly bearer: TokenBearer;
  readonly expiresAtMs: number;
  /** Whether the key that signed it is still among its issuer's. */
  readonly isCurrent: () => boolean;
}

/** Verifies a token in the form of a JWT. Throws Refusal 401, 403, or 503 when the issuer's keys cannot be had. */
export type VerifyToken = (token: string, nowMs: number) => Promise<GoodToken>;

/** What a token says of itself, before anything of it is believed. */
interface Address {
  readonly issuer: string;
  readonly audiences: readonly string[];
}

/** Who verifies a token follows from its `iss` and `aud`, which its verifier then demands. */
export function createTokenVerifier(
  snapshot: Pick<Snapshot, "config" | "verifyService">,
  issuers: Issuers,
): VerifyToken {
  const { serviceIdentity, oidc = [] } = snapshot.config;
  return async (token, nowMs) => {
    const address = readAddress(token);
    const isOurs = address.issuer === serviceIdentity.issuer;
    if (isOurs && address.audiences.includes(serviceIdentity.audience)) {
      const verdict = await snapshot.verifyService(token, nowMs);
      if (!verdict.ok) throw refused(verdict.reason);
      const bearer = { kind: "orchestrator", subject: verdict.subject } as const;
      return { bearer, expiresAtMs: verdict.expiresAtMs, isCurrent: () => true };
    }
    const named = oidc.filter((each) => each.issuer === address.issuer);
    const issuer = named.find((each) => address.audiences.includes(each.audience));
    if (issuer === undefined) throw notAddressed(address, { named, all: oidc, isOurs, ours: serviceIdentity.audience });
    const source = issuers.keysOf(issuer);
    if (source === undefined) throw noKeys(issuer);
    return await verifyClient(token, { issuer, source, nowMs });
  };
}

interface ClientContext {
  readonly issuer: OidcIssuer;
  readonly source: IssuerKeys;
  readonly nowMs: number;
}

async function verifyClient(token: string, context: ClientContext): Promise<GoodToken> {
  const { issuer, source } = context;
  const { verdict, keys } = await verifyByNewest(token, context);
  if (!verdict.ok) throw verdict.isUnknownKey && source.isStale() ? noKeys(issuer) : refused(verdict.reason);
  const judged = judgeClaims(verdict.claims, issuer);
  if (!judged.ok) throw refused(judged.reason, judged.code);
  const bearer = { kind: "token", identity: judged.identity } as const;
  return { bearer, expiresAtMs: verdict.expiresAtMs, isCurrent: () => source.current() === keys };
}

/** By the keys at hand; by newer ones, if there are any, when the token names a key that is not among them. */
async function verifyByNewest(
  token: string,
  { issuer, source, nowMs }: ClientContext,
): Promise<{ readonly verdict: JwtVerdict; readonly keys: JwtKeys }> {
  const verifyBy = async (keys: JwtKeys): Promise<{ readonly verdict: JwtVerdict; readonly keys: JwtKeys }> => ({
    verdict: await verifyJwt(token, { issuer: issuer.issuer, audience: issuer.audience, keys, nowMs }),
    keys,
  });
  const keys = source.current() ?? (await source.renew());
  if (keys === undefined) throw noKeys(issuer);
  const first = await verifyBy(keys);
  if (first.verdict.ok || !first.verdict.isUnknownKey) return first;
  const newer = await source.renew();
  return newer === undefined || newer === keys ? first : await verifyBy(newer);
}

function readAddress(token: string): Address {
  try {
    const { iss, aud } = decodeJwt(token);
    const audiences = (Array.isArray(aud) ? aud : [aud]).filter((each) => typeof each === "string");
    return { issuer: typeof iss === "string" ? iss : "", audiences };
  } catch {
    throw refused("it must be a JWT of three parts in base64url with JSON claims");
  }
}

interface Known {
  readonly named: readonly OidcIssuer[];
  readonly all: readonly OidcIssuer[];
  readonly isOurs: boolean;
  readonly ours: string;
}

function notAddressed(address: Address, { named, all, isOurs, ours }: Known): Refusal {
  const audiences = [...named.map((each) => each.audience), ...(isOurs ? [ours] : [])];
  if (audiences.length > 0)
    return refused(`aud must be ${audiences.join(" or ")}: current value is ${show(address.audiences)}`);
  if (all.length === 0) return refused("no issuer is configured");
  const issuers = [...new Set(all.map((each) => each.issuer))].join(" or ");
  return refused(`iss must be ${issuers}: current value is ${show(address.issuer)}`);
}

function refused(reason: string, code: "invalid_token" | "insufficient_scope" = "invalid_token"): Refusal {
  return new Refusal(code, `Cannot accept the token: ${reason}`);
}

/** Fail closed, and say whose fault it is: a client whose token may be good must not throw it away. */
function noKeys(issuer: OidcIssuer): Refusal {
  return new Refusal(
    "issuer_unavailable",
    `Cannot judge the token as the keys of its issuer cannot be had: ${issuer.issuer}`,
  );
}
