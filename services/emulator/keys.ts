import { createECDH, createPrivateKey, createPublicKey, hkdfSync, randomBytes } from "node:crypto";
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  errors,
  exportJWK,
  jwtVerify,
  SignJWT,
  type JWK,
  type JWTPayload,
} from "jose";
import { z } from "zod";

type TokenCheck = { readonly ok: true; readonly claims: JWTPayload } | { readonly ok: false; readonly reason: string };

/** The emulator's own signing keys. Tokens of every stand-in are signed by the newest one. */
export interface KeyRing {
  sign(claims: JWTPayload): Promise<string>;
  /** Checks signature, audience and expiry at `nowMs`; a reason names what is wrong and never repeats the token. */
  verify(token: string, expected: { audience: string; nowMs: number }): Promise<TokenCheck>;
  /** The public keys, newest first. */
  jwks(): { keys: JWK[] };
  /** Makes a new newest key. Old ones stay valid unless `retireOld`; at most 8 are kept. */
  rotate(options: { retireOld: boolean }): Promise<void>;
  /** What makes the same keys again. */
  state(): KeyRingState;
}

export const keyRingStateSchema = z.strictObject({
  /** Only if the ring made it itself: a seed of the environment stays there. */
  seed: z.string().min(1).max(1024).optional(),
  /** Of the newest key. */
  generation: z.int().min(0),
  /** How many generations are still believed. */
  kept: z.int().min(1).max(8),
});
type KeyRingState = z.output<typeof keyRingStateSchema>;

export interface KeyRingOptions {
  /** Processes with the same seed have the same keys. Whoever knows it can make tokens: it protects nothing. */
  readonly seed?: string;
  /** A private key as PKCS8 PEM (RSA signs RS256, P-256 signs ES256) in place of the first derived one. */
  readonly pem?: string;
  /** What a ring before this one was. A seed given beside it counts more. */
  readonly before?: KeyRingState | undefined;
}

interface SigningKey {
  readonly privateKey: ReturnType<typeof createPrivateKey>;
  readonly publicJwk: JWK;
  readonly kid: string;
  readonly alg: "RS256" | "ES256";
}

const KEYS_MAX = 8;
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

export async function createKeyRing(options: KeyRingOptions): Promise<KeyRing> {
  const ownSeed = options.before?.seed ?? randomBytes(32).toString("hex");
  const seed = options.seed ?? ownSeed;
  const makeKey = (number: number): Promise<SigningKey> =>
    toSigningKey(options.pem !== undefined && number === 0 ? options.pem : derivePem(seed, number));
  let generation = options.before?.generation ?? 0;
  const kept = Math.min(options.before?.kept ?? 1, generation + 1);
  let keys = await Promise.all(Array.from({ length: kept }, (_, age) => makeKey(generation - age)));
  return {
    async sign(claims) {
      const [key] = keys;
      if (!key) throw new Error("Cannot sign a token as the key ring is empty");
      return new SignJWT(claims).setProtectedHeader({ alg: key.alg, typ: "JWT", kid: key.kid }).sign(key.privateKey);
    },
    verify: (token, expected) => verifyToken(token, { ...expected, keys: keys.map((key) => key.publicJwk) }),
    jwks: () => ({ keys: keys.map((key) => key.publicJwk) }),
    async rotate({ retireOld }) {
      generation += 1;
      const newest = await makeKey(generation);
      keys = [newest, ...(retireOld ? [] : keys)].slice(0, KEYS_MAX);
    },
    state: () => ({ generation, kept: keys.length, ...(options.seed === undefined ? { seed: ownSeed } : {}) }),
  };
}

const EXPIRED_LIFE_SECONDS = 3600;

/** Times of a token in seconds. With a life of 0 or less it was good for an hour that ended so long ago. */
export function tokenTimes(nowMs: number, lifetimeSeconds: number): { iat: number; nbf: number; exp: number } {
  const now = Math.floor(nowMs / 1000);
  const iat = lifetimeSeconds > 0 ? now : now + lifetimeSeconds - EXPIRED_LIFE_SECONDS;
  return { iat, nbf: iat, exp: now + lifetimeSeconds };
}

async function verifyToken(
  token: string,
  expected: { audience: string; nowMs: number; keys: JWK[] },
): Promise<TokenCheck> {
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet({ keys: expected.keys }), {
      audience: expected.audience,
      algorithms: ["RS256", "ES256"],
      currentDate: new Date(expected.nowMs),
      requiredClaims: ["exp"],
    });
    return { ok: true, claims: payload };
  } catch (error) {
    return { ok: false, reason: error instanceof errors.JOSEError ? error.message : "the token cannot be read" };
  }
}

async function toSigningKey(pem: string): Promise<SigningKey> {
  const privateKey = createPrivateKey(pem);
  const alg = privateKey.asymmetricKeyType === "rsa" ? "RS256" : "ES256";
  const jwk = await exportJWK(createPublicKey(privateKey));
  const kid = await calculateJwkThumbprint(jwk);
  return { privateKey, alg, kid, publicJwk: { ...jwk, kid, alg, use: "sig" } };
}

/** A P-256 key from a seed: 48 bytes of HKDF modulo the order of the curve, as FIPS 186-5 A.2.1 does with random bits. */
function derivePem(seed: string, generation: number): string {
  const bits = Buffer.from(hkdfSync("sha256", seed, "supercargo-emulator", `signing key ${generation}`, 48));
  const scalar = (BigInt(`0x${bits.toString("hex")}`) % (P256_ORDER - 1n)) + 1n;
  const d = Buffer.from(scalar.toString(16).padStart(64, "0"), "hex");
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(d);
  const point = curve.getPublicKey();
  const jwk = {
    kty: "EC",
    crv: "P-256",
    d: d.toString("base64url"),
    x: point.subarray(1, 33).toString("base64url"),
    y: point.subarray(33, 65).toString("base64url"),
  };
  return createPrivateKey({ key: jwk, format: "jwk" }).export({ format: "pem", type: "pkcs8" }).toString();
}
