import type { ServiceIdentity } from "#core/api/pod-config.ts";
import { toJwtKeys, verifyJwt } from "./jwt.ts";

export type ServiceIdentityResult =
  | { readonly ok: true; readonly subject: string; readonly expiresAtMs: number }
  | { readonly ok: false; readonly reason: string };

/**
 * Verifies projected service account tokens of our own pods: signature by the cluster's keys, issuer, audience, life,
 * and that the subject is one of the accounts we expect. A refusal says why, never repeats the token.
 */
export function createServiceVerifier(
  identity: ServiceIdentity,
): (token: string, nowMs: number) => Promise<ServiceIdentityResult> {
  const { issuer, audience, subjects } = identity;
  const keys = toJwtKeys(identity.jwks.keys);
  return async (token, nowMs) => {
    const verdict = await verifyJwt(token, { issuer, audience, keys, nowMs });
    if (!verdict.ok) return verdict;
    const subject = verdict.claims.sub ?? "";
    if (!subjects.includes(subject)) return { ok: false, reason: `subject ${subject} is not allowed here` };
    return { ok: true, subject, expiresAtMs: verdict.expiresAtMs };
  };
}
