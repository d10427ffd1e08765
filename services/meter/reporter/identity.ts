import { ManagedIdentityCredential } from "@azure/identity";
import type { TokenSource } from "./marketplace.ts";

/** The application id of the Marketplace metering API, the same for every publisher. */
const AUDIENCE = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default";

/**
 * Tokens of the extension's managed identity, from IMDS. Never DefaultAzureCredential: with workload-identity variables in
 * the environment it would silently ask for another identity. config.ts refuses to start beside them. The library keeps
 * tokens per process until half of their life, and offers no way to drop one; neither does IMDS, which keeps its own.
 */
export function createTokenSource(clientId: string): TokenSource {
  const credential = new ManagedIdentityCredential({ clientId });
  return async () => (await credential.getToken(AUDIENCE)).token;
}
