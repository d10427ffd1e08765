/** The OpenID Connect server that the gateway is tried against; it brings no types. */
declare module "oidc-provider" {
  import type { RequestListener } from "node:http";

  export interface ResourceServer {
    readonly scope: string;
    readonly audience: string;
    readonly accessTokenFormat: "jwt" | "opaque";
    readonly accessTokenTTL: number;
    readonly jwt: { readonly sign: { readonly alg: "RS256" | "ES256" } };
  }

  export interface ProviderOptions {
    readonly clients: readonly {
      readonly client_id: string;
      readonly client_secret: string;
      readonly grant_types: readonly string[];
      readonly redirect_uris: readonly string[];
      readonly response_types: readonly string[];
    }[];
    /** Private keys; the first that fits signs. */
    readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] };
    readonly scopes: readonly string[];
    readonly features: {
      readonly devInteractions: { readonly enabled: boolean };
      readonly clientCredentials: { readonly enabled: boolean };
      readonly resourceIndicators: {
        readonly enabled: boolean;
        readonly defaultResource: () => string;
        readonly getResourceServerInfo: (context: unknown, resource: string) => ResourceServer;
      };
    };
  }

  export class Provider {
    constructor(issuer: string, options: ProviderOptions);
    callback(): RequestListener;
  }
}
