import type { JWTPayload } from "jose";
import type { OidcIssuer } from "#core/api/pod-config.ts";
import type { ErrorCode } from "#core/errors.ts";

/** Who a verified token is about, and who sent it. */
export interface Identity {
  readonly principal: string;
  readonly actor: string;
}

export type ClaimsVerdict =
  | { readonly ok: true; readonly identity: Identity }
  | {
      readonly ok: false;
      readonly code: Extract<ErrorCode, "invalid_token" | "insufficient_scope">;
      readonly reason: string;
    };

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** OpenID Connect Core, 2: at most 255 ASCII characters. */
const SUBJECT = /^[\x20-\x7e]{1,255}$/;
const SHOWN_CHARACTERS_MAX = 128;
/** Of a list in a token: what stands behind it is not looked at. */
const VALUES_MAX = 256;

/**
 * Judges the claims of a token whose signature, issuer, audience and life are good. Never by `email`, `upn`,
 * `preferred_username` or `unique_name`: people can change those (learn.microsoft.com/entra/identity-platform/claims-validation).
 */
export function judgeClaims(claims: JWTPayload, issuer: OidcIssuer): ClaimsVerdict {
  if (claims["cnf"] !== undefined) return invalid("cnf must be absent, as proof of possession is not verified here");
  const found = issuer.entra ? fromEntra(claims, issuer.entra) : fromOidc(claims, issuer);
  if (!found.ok) return found;
  const { actor } = found.identity;
  if (issuer.actors.length > 0 && !issuer.actors.includes(actor))
    return forbidden(`its application must be one of the issuer's actors: current value is ${show(actor)}`);
  return mayCall(claims, issuer) ? found : forbidden(rightsOf(issuer));
}

/** Tenant and object id: the subject of Entra differs per application. */
function fromEntra(claims: JWTPayload, entra: NonNullable<OidcIssuer["entra"]>): ClaimsVerdict {
  const isV2 = entra.tokenVersion === "V2";
  const version = isV2 ? "2.0" : "1.0";
  const { ver, tid, oid } = claims;
  if (ver !== version) return invalid(`ver must be ${version}: current value is ${show(ver)}`);
  if (tid !== entra.tenantId) return invalid(`tid must be ${entra.tenantId}: current value is ${show(tid)}`);
  if (typeof oid !== "string" || !GUID.test(oid)) return invalid(`oid must be a GUID: current value is ${show(oid)}`);
  const actor = claims[isV2 ? "azp" : "appid"];
  return {
    ok: true,
    identity: { principal: `${entra.tenantId}/${oid}`, actor: typeof actor === "string" ? actor : "" },
  };
}

/** Issuer and subject, as a subject is unique within its issuer alone. An issuer holds no `#`. */
function fromOidc(claims: JWTPayload, { issuer }: OidcIssuer): ClaimsVerdict {
  const { sub } = claims;
  if (sub === undefined || !SUBJECT.test(sub)) return invalid("sub must be 1 to 255 printable ASCII characters");
  if (claims["at_hash"] !== undefined || claims["c_hash"] !== undefined)
    return invalid("it must be an access token, not an ID token");
  // OpenID Connect, RFC 9068, Okta.
  const actor = [claims["azp"], claims["client_id"], claims["cid"]].find((value) => typeof value === "string");
  return { ok: true, identity: { principal: `${issuer}#${sub}`, actor: typeof actor === "string" ? actor : sub } };
}

/** Roles are an application's or a person's own, scopes what a person let an application do: either kind will do. */
function mayCall(claims: JWTPayload, issuer: OidcIssuer): boolean {
  const { roles, scopes } = issuer;
  if (roles.length === 0 && scopes.length === 0) return true;
  const scope = claims["scp"] ?? (issuer.entra ? undefined : claims["scope"]);
  return hasOne(claims["roles"], roles) || hasOne(scope, scopes);
}

function hasOne(held: unknown, wanted: readonly string[]): boolean {
  const values: readonly unknown[] = typeof held === "string" ? held.split(" ") : Array.isArray(held) ? held : [];
  return values.slice(0, VALUES_MAX).some((value) => typeof value === "string" && wanted.includes(value));
}

function rightsOf({ roles, scopes }: OidcIssuer): string {
  const parts = [
    ...(roles.length > 0 ? [`roles must hold one of ${roles.join(", ")}`] : []),
    ...(scopes.length > 0 ? [`scp must hold one of ${scopes.join(", ")}`] : []),
  ];
  return parts.join(", or ");
}

/** A claim in a message: it may hold anything. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "absent";
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}

function invalid(reason: string): ClaimsVerdict {
  return { ok: false, code: "invalid_token", reason };
}

function forbidden(reason: string): ClaimsVerdict {
  return { ok: false, code: "insufficient_scope", reason };
}
