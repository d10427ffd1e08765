import type { GatewayDeployment, UpstreamAuth } from "#core/api/pod-config.ts";
import { type WatchedFile, watchFile } from "#runtime/watched-file.ts";

/** An Entra token kept fresh elsewhere; nothing before the first one came. */
export interface TokenSource {
  current(): string | undefined;
}

export type CredentialHeader =
  | { readonly ok: true; readonly headers: Readonly<Record<string, string>> }
  | { readonly ok: false; readonly reason: string };

/** Whom a credential is for: where a key stands depends on it. */
interface Audience {
  readonly type: GatewayDeployment["type"] | "ContentSafety";
  readonly auth: UpstreamAuth;
}

/** Our own credentials towards models and guardrails: never the caller's. */
export interface UpstreamCredentials {
  headerFor(upstream: Audience): CredentialHeader;
  /** Reads secrets again that changed. */
  refresh(): void;
  /** Forgets secrets that no configuration names any more. */
  retain(files: ReadonlySet<string>): void;
}

export function createUpstreamCredentials(entra: TokenSource): UpstreamCredentials {
  const secrets = new Map<string, WatchedFile<string>>();
  const secretOf = (file: string): WatchedFile<string> => {
    const known = secrets.get(file) ?? watchFile(file, parseSecret);
    secrets.set(file, known);
    return known;
  };
  return {
    headerFor({ type, auth }) {
      switch (auth.type) {
        case "None":
          return { ok: true, headers: {} };
        case "WorkloadIdentity": {
          const token = entra.current();
          if (token === undefined) return { ok: false, reason: "no token of the workload identity has been had yet" };
          return { ok: true, headers: { authorization: `Bearer ${token}` } };
        }
        case "SecretFile": {
          const secret = secretOf(auth.file);
          const value = secret.current()?.value;
          if (value === undefined) return { ok: false, reason: secret.problem() ?? "the secret is not there" };
          return { ok: true, headers: toHeader(type, value) };
        }
      }
    },
    refresh() {
      for (const secret of secrets.values()) secret.refresh();
    },
    retain(files) {
      for (const file of secrets.keys()) if (!files.has(file)) secrets.delete(file);
    },
  };
}

/** The one line of a mounted secret or token. Throws without repeating it. */
export function parseSecret(text: string): string {
  const value = text.trim();
  if (!/^[\x21-\x7e]{1,16384}$/.test(value))
    throw new Error("it must be one line of 1 to 16384 printable ASCII characters");
  return value;
}

/** Azure OpenAI takes keys in `api-key`, Content Safety in the header of all Azure AI services; everyone else as a bearer token. */
function toHeader(type: Audience["type"], secret: string): Record<string, string> {
  switch (type) {
    case "AzureOpenAI":
      return { "api-key": secret };
    case "ContentSafety":
      return { "ocp-apim-subscription-key": secret };
    case "OpenAI":
      return { authorization: `Bearer ${secret}` };
  }
}
