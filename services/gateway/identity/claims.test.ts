import { describe, expect, it } from "vitest";
import type { OidcIssuer } from "#core/api/pod-config.ts";
import { judgeClaims } from "./claims.ts";
import { CLIENT, entraClaims, entraIssuer, OBJECT, ROLE, TENANT } from "./test-issuer.ts";

const ISSUER = `https://login.microsoftonline.com/${TENANT}/v2.0`;
const NOW_MS = Date.parse("2026-11-24T12:00:00Z");
const OTHER = "00000000-0000-4000-8000-000000000001";

const entra = (claims: Record<string, unknown> = {}, issuer: Partial<OidcIssuer> = {}): unknown =>
  judgeClaims({ ...entraClaims(ISSUER, NOW_MS), ...claims }, entraIssuer(ISSUER, issuer));

const PLAIN: OidcIssuer = {
  name: "plain",
  issuer: "https://id.example.com",
  audience: "gateway",
  actors: [],
  roles: [],
  scopes: [],
};
const plain = (claims: Record<string, unknown>, issuer: Partial<OidcIssuer> = {}): unknown =>
  judgeClaims({ iss: PLAIN.issuer, aud: "gateway", sub: "alice", ...claims }, { ...PLAIN, ...issuer });

const came = (principal: string, actor: string): unknown => ({ ok: true, identity: { principal, actor } });
const refused = (code: string, reason: string): unknown => ({ ok: false, code, reason });

describe("a token of Entra ID", () => {
  const good: readonly (readonly [string, Record<string, unknown>, Partial<OidcIssuer>])[] = [
    ["with the role", {}, {}],
    ["with the role among others", { roles: ["Reader", ROLE] }, {}],
    [
      "with a scope where scopes are asked for",
      { roles: undefined, scp: "openid Agent.Use" },
      { scopes: ["Agent.Use"] },
    ],
    [
      "in the form of v1.0",
      { ver: "1.0", azp: undefined, appid: CLIENT },
      { entra: { tenantId: TENANT, tokenVersion: "V1" } },
    ],
  ];
  it.each(good)("%s comes in as tenant and object", (_, claims, issuer) => {
    expect(entra(claims, issuer)).toEqual(came(`${TENANT}/${OBJECT}`, CLIENT));
  });

  it.each([
    ["the form of v1.0", { ver: "1.0", appid: CLIENT }, "invalid_token", 'ver must be 2.0: current value is "1.0"'],
    ["no form", { ver: undefined }, "invalid_token", "ver must be 2.0: current value is absent"],
    ["another tenant", { tid: OTHER }, "invalid_token", `tid must be ${TENANT}: current value is "${OTHER}"`],
    ["no tenant", { tid: undefined }, "invalid_token", `tid must be ${TENANT}: current value is absent`],
    ["an object that is none", { oid: "me" }, "invalid_token", 'oid must be a GUID: current value is "me"'],
    ["no object", { oid: undefined }, "invalid_token", "oid must be a GUID: current value is absent"],
    [
      "another application",
      { azp: OTHER },
      "insufficient_scope",
      `its application must be one of the issuer's actors: current value is "${OTHER}"`,
    ],
    [
      "the application in the claim of v1.0",
      { azp: undefined, appid: CLIENT },
      "insufficient_scope",
      'its application must be one of the issuer\'s actors: current value is ""',
    ],
    ["another role", { roles: ["Reader"] }, "insufficient_scope", `roles must hold one of ${ROLE}`],
    [
      "a role that only begins like it",
      { roles: [`${ROLE}.Not`] },
      "insufficient_scope",
      `roles must hold one of ${ROLE}`,
    ],
    ["the role as a scope", { roles: [], scp: ROLE }, "insufficient_scope", `roles must hold one of ${ROLE}`],
    ["roles of a wrong type", { roles: { [ROLE]: true } }, "insufficient_scope", `roles must hold one of ${ROLE}`],
    [
      "proof of possession",
      { cnf: { jkt: "x" } },
      "invalid_token",
      "cnf must be absent, as proof of possession is not verified here",
    ],
  ])("with %s is refused", (_, claims, code, reason) => {
    expect(entra(claims)).toEqual(refused(code, reason));
  });

  it("with neither role nor scope is told of both", () => {
    expect(entra({ roles: [], scope: "Agent.Use" }, { scopes: ["Agent.Use"] })).toEqual(
      refused("insufficient_scope", `roles must hold one of ${ROLE}, or scp must hold one of Agent.Use`),
    );
  });

  it.each(["email", "upn", "preferred_username", "unique_name", "sub"])("is never judged by %s", (claim) => {
    expect(entra({ [claim]: "ceo@example.com" })).toEqual(came(`${TENANT}/${OBJECT}`, CLIENT));
  });
});

describe("a token of another OpenID Connect provider", () => {
  it.each([
    ["azp", { azp: "app" }, "app"],
    ["client_id", { client_id: "app" }, "app"],
    ["cid", { cid: "app" }, "app"],
    ["nobody but its subject", {}, "alice"],
  ])("comes in as issuer and subject, sent by %s", (_, claims, actor) => {
    expect(plain(claims)).toEqual(came("https://id.example.com#alice", actor));
  });

  it.each([
    ["scope", { scope: "openid agent" }],
    ["scp as a list", { scp: ["agent"] }],
    ["scp as a text", { scp: "agent" }],
  ])("has its right in %s", (_, claims) => {
    expect(plain(claims, { scopes: ["agent"] })).toMatchObject({ ok: true });
  });

  it.each([
    ["no subject", { sub: "" }, {}, "invalid_token", "sub must be 1 to 255 printable ASCII characters"],
    [
      "an endless subject",
      { sub: "s".repeat(256) },
      {},
      "invalid_token",
      "sub must be 1 to 255 printable ASCII characters",
    ],
    ["a subject of two lines", { sub: "a\nb" }, {}, "invalid_token", "sub must be 1 to 255 printable ASCII characters"],
    ["an ID token's hash", { at_hash: "x" }, {}, "invalid_token", "it must be an access token, not an ID token"],
    [
      "another application",
      { azp: "other" },
      { actors: ["app"] },
      "insufficient_scope",
      'its application must be one of the issuer\'s actors: current value is "other"',
    ],
    ["no scope", {}, { scopes: ["agent"] }, "insufficient_scope", "scp must hold one of agent"],
  ])("with %s is refused", (_, claims, issuer, code, reason) => {
    expect(plain(claims, issuer)).toEqual(refused(code, reason));
  });

  it("cannot take the principal of another issuer", () => {
    const other = judgeClaims({ sub: "alice" }, { ...PLAIN, issuer: "https://id.example.org" });
    expect(other).not.toEqual(plain({}));
  });
});
