import { createHmac } from "node:crypto";
import fc from "fast-check";
import { exportSPKI } from "jose";
import {
  CLIENT,
  createTestKey,
  entraClaims,
  OBJECT,
  TENANT,
  type TestKey,
} from "../../../services/gateway/identity/test-issuer.ts";
import { createArea } from "./area.ts";
import { verdictOf } from "./shape.ts";
import { AUDIENCE, type FuzzWorld } from "./world.ts";

/** One change of a good token, and whether it is a good one still. */
interface Change {
  readonly name: string;
  readonly value: unknown;
  readonly isGood: boolean;
  /** The credential is believed, but may not do this. */
  readonly isForbidden?: boolean;
}

interface TokenCase {
  readonly signer: "rsa" | "ec" | "stranger" | "hmac" | "none";
  readonly claims: readonly Change[];
  readonly header: readonly Change[];
  /** Of the text, behind the signature. */
  readonly spoil: { readonly at: number; readonly piece: string; readonly dropped: number } | undefined;
}

const ABSENT = Symbol("absent");
/** Seconds from now stand as text, since a case must be the same whenever it is played. */
const inSeconds = (seconds: number): string => `now${seconds >= 0 ? "+" : ""}${seconds}`;
const change = (name: string, isGood: boolean, ...values: unknown[]): Change[] =>
  values.map((value) => ({ name, value, isGood }));
const forbidden = (name: string, ...values: unknown[]): Change[] =>
  values.map((value) => ({ name, value, isGood: false, isForbidden: true }));

const CLAIMS: readonly Change[] = [
  ...change("exp", true, inSeconds(1), inSeconds(-30), 99_999_999_999, 1e300),
  ...change("exp", false, inSeconds(-120), 0, -1, "soon", "99999999999", null, [], {}, true, ABSENT),
  ...change("nbf", true, inSeconds(30), 0, -1, ABSENT),
  ...change("nbf", false, inSeconds(600), "now", null, {}, 1e300),
  ...change("iat", true, inSeconds(-9_000), ABSENT),
  ...change("aud", true, [AUDIENCE, "other"], ["other", AUDIENCE]),
  ...change("aud", false, "other", AUDIENCE.toUpperCase(), `${AUDIENCE} `, [], [[AUDIENCE]], {}, 5, null, ABSENT),
  ...change("iss", false, "http://other", "", null, 7, ["x"], {}, ABSENT),
  ...change("ver", false, "1.0", 2, null, "2.00", ABSENT),
  ...change("tid", false, OBJECT, TENANT.toUpperCase(), null, [TENANT], ABSENT),
  ...change("oid", true, CLIENT),
  ...change("oid", false, "", "x", `${OBJECT} `, null, [OBJECT], 5, "__proto__", ABSENT),
  ...forbidden("azp", OBJECT, "", [CLIENT], null, ABSENT),
  ...change("roles", true, ["other", "Agent.Call"], "other Agent.Call"),
  ...forbidden("roles", ["agent.call"], [], {}, "Agent.Call2", [["Agent.Call"]], null, ABSENT),
  ...change("sub", false, null, ABSENT),
  ...change("cnf", false, { jkt: "x" }, null),
  ...change("email", true, "admin@example.com", null),
  ...change("__proto__", true, { roles: ["Agent.Call"] }),
  ...change("long", true, "x".repeat(2_000), Array(500).fill(1)),
];
const HEADER: readonly Change[] = [
  ...change("typ", true, "at+jwt", "jwt", ABSENT),
  ...change("typ", false, "logout+jwt", "dpop+jwt", ""),
  ...change("kid", false, "unknown", "../../keys", "", "rsa-1\u0000", "x".repeat(5_000), 7, null, {}),
  ...change("alg", false, "none", "None", "HS256", "RS512", "ES384", "PS256", "EdDSA", "", null, 5, ABSENT),
  ...change("jku", true, "http://127.0.0.1:1/keys"),
  ...change("x5u", true, "http://127.0.0.1:1/keys"),
  ...change("crit", false, ["exp"], [], "exp", ["b64"]),
  ...change("zip", true, "DEF"),
];

const few = (changes: readonly Change[]): fc.Arbitrary<Change[]> =>
  fc.uniqueArray(fc.constantFrom(...changes), { maxLength: 2, selector: ({ name }) => name });
const cases: fc.Arbitrary<TokenCase> = fc.record({
  signer: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom("rsa" as const, "ec" as const) },
    fc.constantFrom("stranger" as const, "hmac" as const, "none" as const),
  ),
  claims: few(CLAIMS),
  header: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, few(HEADER)),
  spoil: fc.oneof(
    { weight: 4, arbitrary: fc.constant(undefined) },
    fc.record({
      at: fc.nat({ max: 5_000 }),
      piece: fc.constantFrom("A", "-", "_", ".", "..", "=", "+", "/", "%", "~", "e30", "eyJ"),
      dropped: fc.nat({ max: 3 }),
    }),
  ),
});

/** A stranger's key that calls itself by the name of a good one. */
let stranger: Promise<TestKey> | undefined;

async function check(world: FuzzWorld, one: TokenCase): Promise<string> {
  const good = await write(world, one);
  const token = one.spoil === undefined ? good : spoil(good, one.spoil);
  const verdict = verdictOf(await world.send({ path: "/v1/models", headers: { authorization: `Bearer ${token}` } }));
  const right = rightVerdicts(one, token === good);
  if (!right.includes(verdict)) throw new Error(`It came to ${verdict}, right is ${right.join(" or ")}: ${token}`);
  return verdict;
}

function rightVerdicts({ signer, claims, header }: TokenCase, isWhole: boolean): readonly string[] {
  // A spoiled token may look like none, and is then a key that nobody knows.
  if (!isWhole || signer === "none") return ["invalid_token", "invalid_api_key"];
  const isSigned = (signer === "rsa" || signer === "ec") && header.every(({ isGood }) => isGood);
  const broken = claims.filter(({ isGood }) => !isGood);
  if (isSigned && broken.length === 0) return ["ok"];
  return isSigned && broken.every(({ isForbidden }) => isForbidden) ? ["insufficient_scope"] : ["invalid_token"];
}

async function write(world: FuzzWorld, { signer, claims, header }: TokenCase): Promise<string> {
  const nowMs = Date.now();
  const payload = apply(entraClaims(world.issuer.url, nowMs), claims, Math.floor(nowMs / 1000));
  const own = signer === "rsa" ? world.keys.rsa : world.keys.ec;
  if (signer === "stranger") return await (stranger ??= createTestKey(own.kid)).then((key) => key.sign(payload));
  const head = apply({ alg: own.alg, kid: own.kid, typ: "JWT" }, header, 0);
  const input = `${encode(head)}.${encode(payload)}`;
  if (signer === "none") return `${encode({ ...head, alg: "none" })}.${encode(payload)}.`;
  if (signer === "hmac") {
    // The classic: the public key as a shared secret.
    const secret = await exportSPKI(world.keys.rsa.publicKey);
    const text = `${encode({ ...head, alg: "HS256", kid: "rsa-1" })}.${encode(payload)}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  }
  return `${input}.${await own.signText(input)}`;
}

function apply(
  base: Readonly<Record<string, unknown>>,
  changes: readonly Change[],
  nowSeconds: number,
): Record<string, unknown> {
  const entries = new Map(Object.entries(base));
  for (const { name, value } of changes) {
    if (value === ABSENT) entries.delete(name);
    else entries.set(name, toTime(value, nowSeconds));
  }
  return Object.fromEntries(entries);
}

function toTime(value: unknown, nowSeconds: number): unknown {
  const offset = typeof value === "string" ? /^now([+-]\d+)$/.exec(value)?.[1] : undefined;
  return offset === undefined ? value : nowSeconds + Number(offset);
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function spoil(token: string, { at, piece, dropped }: NonNullable<TokenCase["spoil"]>): string {
  const place = at % (token.length + 1);
  return token.slice(0, place) + piece + token.slice(place + dropped);
}

/** Tokens: whose signature, which algorithm and key, what they claim, and every byte of their text. */
export const tokens = createArea({ name: "tokens", runs: 400 }, cases, check);
