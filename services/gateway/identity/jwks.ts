import { Agent, request } from "undici";
import { z } from "zod";
import type { OidcIssuer } from "#core/api/pod-config.ts";

/** Where an issuer's keys are looked for. */
export type KeySource = Pick<OidcIssuer, "issuer" | "jwksUri">;

type JsonWebKeys = readonly Readonly<Record<string, unknown>>[];

/** Asks issuers for their keys, within bounds of size and time. */
export interface JwksClient {
  /** Throws with a message for people: what failed, never what the issuer wrote. */
  fetch(source: KeySource, signal: AbortSignal): Promise<JsonWebKeys>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 3_000;
const SILENCE_MS = 5_000;
const BODY_BYTES_MAX = 256 * 1024;
/** Entra ID publishes about ten. */
const KEYS_MAX = 64;

const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.string().max(2048) });
const jwksSchema = z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(KEYS_MAX) });

export function createJwksClient(): JwksClient {
  const dispatcher = new Agent({
    connections: 2,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: SILENCE_MS,
    bodyTimeout: SILENCE_MS,
    maxResponseSize: BODY_BYTES_MAX,
  });
  const read = async (url: string, signal: AbortSignal): Promise<unknown> => {
    // Redirects are not followed: a key set comes from where it was said to be.
    const answer = await request(url, { dispatcher, signal, headers: { accept: "application/json" } });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${url} must answer 200: current status is ${answer.statusCode}`);
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${url} must answer with JSON`);
    }
  };
  return {
    async fetch(source, signal) {
      const url = source.jwksUri ?? (await discover(source.issuer, (each) => read(each, signal)));
      const parsed = jwksSchema.safeParse(await read(url, signal));
      if (!parsed.success) throw new Error(`${url} must answer with a JWKS of at most ${KEYS_MAX} keys`);
      const keys = parsed.data.keys.filter(isForSignatures);
      if (keys.length === 0) throw new Error(`${url} must hold a key of type RSA or EC for signatures`);
      return keys;
    },
    close: () => dispatcher.destroy(),
  };
}

async function discover(issuer: string, read: (url: string) => Promise<unknown>): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  return jwksUriOf(await read(url), { issuer, url });
}

/**
 * Where the discovery document of `url` says that the keys are. It must name the issuer that was asked for, or another could
 * stand in for it (OpenID Connect Discovery 1.0, 4.3); keys of an https issuer come over https.
 */
export function jwksUriOf(document: unknown, { issuer, url }: { issuer: string; url: string }): string {
  const parsed = discoverySchema.safeParse(document);
  if (!parsed.success) throw new Error(`${url} must answer with issuer and jwks_uri`);
  const { issuer: named, jwks_uri: jwksUri } = parsed.data;
  if (named !== issuer)
    throw new Error(`${url} must name the issuer ${issuer}: current value is ${JSON.stringify(named.slice(0, 512))}`);
  const protocol = URL.parse(jwksUri)?.protocol;
  const isSafe = protocol === "https:" || (protocol === "http:" && issuer.startsWith("http:"));
  if (!isSafe) throw new Error(`jwks_uri of ${url} must be an https URL: current value is ${JSON.stringify(jwksUri)}`);
  return jwksUri;
}

function isForSignatures(key: Readonly<Record<string, unknown>>): boolean {
  return (key["kty"] === "RSA" || key["kty"] === "EC") && (key["use"] === undefined || key["use"] === "sig");
}
