import fc from "fast-check";
import { API_KEY, EXPIRED_KEY } from "../../../services/gateway/test-world.ts";
import { createArea } from "./area.ts";
import { sendRaw } from "./raw.ts";
import { verdictOf } from "./shape.ts";
import type { FuzzWorld } from "./world.ts";

interface KeyCase {
  readonly header: "authorization" | "api-key";
  readonly value: string;
}

const VISIBLE = Array.from({ length: 94 }, (_, index) => String.fromCharCode(0x21 + index));
const strange = fc.string({ unit: fc.constantFrom(...VISIBLE), maxLength: 400 });
const key = fc.oneof(
  { weight: 4, arbitrary: fc.constant(API_KEY) },
  fc.constantFrom(EXPIRED_KEY, API_KEY.toUpperCase(), API_KEY.slice(3), `${API_KEY}=`, `${API_KEY},${API_KEY}`, ""),
  fc.nat({ max: API_KEY.length - 1 }).map((length) => API_KEY.slice(0, length)),
  fc
    .tuple(fc.nat({ max: API_KEY.length - 1 }), fc.constantFrom(...VISIBLE))
    .map(([at, unit]) => `${API_KEY.slice(0, at)}${unit}${API_KEY.slice(at + 1)}`),
  strange,
  fc.integer({ min: 250, max: 20_000 }).map((length) => "k".repeat(length)),
);
const scheme = fc.oneof(
  { weight: 5, arbitrary: fc.constant("Bearer ") },
  fc.constantFrom(
    "bearer ",
    "BEARER   ",
    "Bearer",
    "Bearer\t",
    "Basic ",
    "Token ",
    "",
    " Bearer ",
    "Bearer Bearer ",
    "Bearer: ",
  ),
);
const cases: fc.Arbitrary<KeyCase> = fc.oneof(
  fc.tuple(scheme, key).map(([first, second]) => ({ header: "authorization" as const, value: `${first}${second}` })),
  key.map((value) => ({ header: "api-key" as const, value })),
);

async function check(world: FuzzWorld, { header, value }: KeyCase): Promise<string> {
  const head = `GET /v1/models HTTP/1.1\r\nhost: x\r\n${header}: ${value}\r\nconnection: close\r\n\r\n`;
  const verdict = verdictOf(await sendRaw(Buffer.from(head, "latin1"), { port: world.port }));
  // Blanks around a value are no part of it (RFC 9110, 5.5).
  const given = value.replace(/^[ \t]+|[ \t]+$/g, "");
  const credential = header === "api-key" ? given : /^bearer +(\S+)$/i.exec(given)?.[1];
  const looksLikeToken = /^[\w-]+\.[\w-]+\.[\w-]*$/.test(credential ?? "");
  const right = credential === API_KEY ? ["ok"] : ["invalid_api_key", ...(looksLikeToken ? ["invalid_token"] : [])];
  if (!right.includes(verdict)) throw new Error(`It came to ${verdict}, right is ${right.join(" or ")}`);
  return verdict;
}

/** API keys: near misses, schemes, lengths. */
export const keys = createArea({ name: "keys", runs: 300 }, cases, check);
