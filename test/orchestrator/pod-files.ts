import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { OrchestratorConfig } from "#core/api/pod-config.ts";

const AUDIENCE = "orchestrator.order-desk.shop.supercargo.dev";
const GATEWAY_ACCOUNT = "system:serviceaccount:shop:order-desk-gateway";
const ISSUER = "https://kubernetes.default.svc";

export interface TokenClaims {
  readonly audience?: string;
  readonly subject?: string;
  readonly expiresIn?: string;
}

/** The cluster's issuer: its public key for the config, and tokens of the agent's gateway. */
export async function createIssuer(): Promise<{
  readonly keys: Record<string, unknown>[];
  readonly token: (claims?: TokenClaims) => Promise<string>;
}> {
  const { publicKey, privateKey } = await generateKeyPair("RS256");
  return {
    keys: [{ ...(await exportJWK(publicKey)), kid: "k1", alg: "RS256", use: "sig" }],
    token: ({ audience = AUDIENCE, subject = GATEWAY_ACCOUNT, expiresIn = "10m" } = {}) =>
      new SignJWT({})
        .setProtectedHeader({ alg: "RS256", kid: "k1" })
        .setIssuer(ISSUER)
        .setAudience(audience)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime(expiresIn)
        .sign(privateKey),
  };
}

/** What the sidecar would write. */
export function writeControl(directory: string, change: object): void {
  const entitlement = { state: "Active", planId: "starter", validUntil: "2099-01-01T00:00:00Z" };
  writeFileSync(join(directory, "control.json"), JSON.stringify({ mode: "Running", entitlement, ...change }));
}

/** What the operator would mount. */
export function toConfig(places: {
  gatewayUrl: string;
  toolsUrl: string;
  keys: Record<string, unknown>[];
}): OrchestratorConfig {
  const unlimited = { overLimit: "Never", retry: "Safe", lane: "Automatic" } as const;
  return {
    agent: { namespace: "shop", name: "order-desk" },
    generation: 1,
    instructions: "You are the order desk.",
    model: "default",
    gateway: { url: places.gatewayUrl, audience: "gateway.order-desk.shop.supercargo.dev" },
    tools: [
      {
        name: "orders",
        url: places.toolsUrl,
        auth: { type: "None" },
        functions: [
          { name: "get_order", ...unlimited },
          { name: "list_orders", ...unlimited },
          { name: "check_papers", ...unlimited, usage: [{ dimension: "documents_analyzed", maxPerCall: "20" }] },
          { name: "refund_order", lane: "Automatic", callsPerRun: 1, overLimit: "Never", retry: "Unsafe" },
          { name: "delete_customer", lane: "Never", overLimit: "Never", retry: "Unsafe" },
        ],
      },
    ],
    budgets: { turns: 6 },
    serviceIdentity: { issuer: ISSUER, audience: AUDIENCE, subjects: [GATEWAY_ACCOUNT], jwks: { keys: places.keys } },
  };
}
