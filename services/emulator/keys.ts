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
}

export interface KeyRingOptions {
  /** Processes with the same seed have the same keys. Whoever knows it can make tokens: it protects nothing. */
  readonly seed?: string;
  /** A private key as PKCS8 PEM (RSA signs RS256, P-256 signs ES256) in place of the first derived one. */
  readonly pem?: string;
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
  const seed = options.seed ?? randomBytes(32).toString("hex");
  let generation = 0;
  let keys = [await toSigningKey(options.pem === undefined ? derivePem(seed, 0) : options.pem)];
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
      const newest = await toSigningKey(derivePem(seed, generation));
      keys = [newest, ...(retireOld ? [] : keys)].slice(0, KEYS_MAX);
    },
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
