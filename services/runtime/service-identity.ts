import { createLocalJWKSet, errors, jwtVerify } from "jose";
import type { ServiceIdentity } from "#core/api/pod-config.ts";

export type ServiceIdentityResult =
  | { readonly ok: true; readonly subject: string; readonly expiresAtMs: number }
  | { readonly ok: false; readonly reason: string };

/** Clock skew that is forgiven on exp and nbf. */
const SKEW_SECONDS = 60;

/**
 * Verifies projected service account tokens of our own pods: signature by the cluster's keys, issuer, audience, life,
 * and that the subject is one of the accounts we expect. A refusal says why, never repeats the token.
 */
export function createServiceVerifier(
  identity: ServiceIdentity,
): (token: string, nowMs: number) => Promise<ServiceIdentityResult> {
  const keys = createLocalJWKSet({
    keys: identity.jwks.keys.map((key) => ({ ...key, kty: typeof key["kty"] === "string" ? key["kty"] : "" })),
  });
  return async (token, nowMs) => {
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: identity.issuer,
        audience: identity.audience,
        algorithms: ["RS256", "ES256"],
        clockTolerance: SKEW_SECONDS,
        currentDate: new Date(nowMs),
        requiredClaims: ["sub", "exp"],
      });
      const subject = payload.sub ?? "";
      if (!identity.subjects.includes(subject)) return { ok: false, reason: `subject ${subject} is not allowed here` };
      return { ok: true, subject, expiresAtMs: (payload.exp ?? 0) * 1000 };
    } catch (error) {
      return { ok: false, reason: error instanceof errors.JOSEError ? error.message : "the token cannot be verified" };
    }
  };
}

/** Whether a bearer token looks like a JWT, so that keys and tokens take their own paths. */
export function looksLikeJwt(token: string): boolean {
  return /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token);
}
