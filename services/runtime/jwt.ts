import { createLocalJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";

/** Clock skew that is forgiven on exp and nbf. */
const SKEW_SECONDS = 60;
/** Media types of an access token (RFC 9068) and of a plain JWT: a logout, DPoP or event token is none. */
const TYPES: ReadonlySet<string> = new Set(["jwt", "at+jwt", "application/jwt", "application/at+jwt"]);

/** The reasons of the library are shorter. */
const REASON_CHARACTERS_MAX = 256;

/** The public keys of one issuer. */
export type JwtKeys = JWTVerifyGetKey;

export interface JwtExpectation {
  readonly issuer: string;
  readonly audience: string;
  readonly keys: JwtKeys;
  /** System time in milliseconds. */
  readonly nowMs: number;
}

export type JwtVerdict =
  | { readonly ok: true; readonly claims: JWTPayload; readonly expiresAtMs: number }
  /** `isUnknownKey`: a newer set of the issuer's keys may know better. The reason never repeats the token. */
  | { readonly ok: false; readonly reason: string; readonly isUnknownKey: boolean };

/** Keys as a JWKS names them. What cannot be used is found out, and refused, when a token asks for it. */
export function toJwtKeys(keys: readonly Readonly<Record<string, unknown>>[]): JwtKeys {
  return createLocalJWKSet({
    keys: keys.map((key) => ({ ...key, kty: typeof key["kty"] === "string" ? key["kty"] : "" })),
  });
}

/**
 * Verifies signature, issuer, audience and life of a token. RS256 and ES256 alone: with an algorithm that the token may choose
 * freely, a public key becomes a shared secret (RFC 8725, 2.1).
 */
export async function verifyJwt(token: string, expected: JwtExpectation): Promise<JwtVerdict> {
  if (!hasOneSpelling(token)) return refuse("its signature must be written in base64url without spare bits");
  try {
    const { payload, protectedHeader } = await jwtVerify(token, expected.keys, {
      issuer: expected.issuer,
      audience: expected.audience,
      algorithms: ["RS256", "ES256"],
      clockTolerance: SKEW_SECONDS,
      currentDate: new Date(expected.nowMs),
      requiredClaims: ["sub", "exp"],
    });
    const type = protectedHeader.typ ?? "JWT";
    if (!TYPES.has(type.toLowerCase())) return refuse("typ must be JWT or at+jwt");
    // Whoever signs may write what it wants: a list or a number would become a text where a name is looked for.
    if (typeof payload.sub !== "string") return refuse("sub must be a string");
    if (!["string", "undefined"].includes(typeof protectedHeader.kid)) return refuse("kid must be a string");
    return { ok: true, claims: payload, expiresAtMs: (payload.exp ?? 0) * 1000 };
  } catch (error) {
    const isUnknownKey = error instanceof errors.JWKSNoMatchingKey;
    return { ok: false, reason: reasonOf(error), isUnknownKey };
  }
}

/** Of the library's reasons one repeats words of the token: reasons are written down. */
function reasonOf(error: unknown): string {
  if (!(error instanceof errors.JOSEError)) return "the token cannot be verified";
  if (error.message.startsWith("Extension Header Parameter")) return "crit must name no extension";
  return error.message.slice(0, REASON_CHARACTERS_MAX);
}

/** Whether a bearer token looks like a JWT, so that keys and tokens take their own paths. */
export function looksLikeJwt(token: string): boolean {
  return /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token);
}

/**
 * The last character of a signature may carry bits that no decoder looks at: sixteen spellings of one good token. What is
 * remembered by its hash must have one.
 */
function hasOneSpelling(token: string): boolean {
  const signature = token.slice(token.lastIndexOf(".") + 1);
  return Buffer.from(signature, "base64url").toString("base64url") === signature;
}

function refuse(reason: string): JwtVerdict {
  return { ok: false, reason, isUnknownKey: false };
}
