import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { decodeCounterFile } from "#core/counter-record.ts";
import {
  AUDIENCE,
  CLIENT,
  createTestKey,
  OBJECT,
  ROLE,
  startTestIssuer,
  TENANT,
  type TestIssuer,
} from "../../services/gateway/identity/test-issuer.ts";
import { API_KEY, control } from "../../services/gateway/test-world.ts";
import { numberOf, type Probe, waitFor } from "./probe.ts";
import { chatTo, post } from "./target.ts";
import { answerWhole } from "./upstream.ts";

const PARALLEL = 200;
const OUTPUT_CAP = 26;
const OUTPUT_LIMIT = 1_000;

export const hardLimit: Probe = {
  name: "200 parallel requests at the hard limit",
  right: "admitted sum <= limit; holds = 0 afterwards: all that is left can be had, and no token more",
  async observe(target, { first }) {
    const { own } = target;
    if (own !== undefined) {
      own.folder.writeControl(control({ leases: [{ dimension: "output_tokens", upTo: `${OUTPUT_LIMIT}` }] }));
      await waitFor(() => ceilingOf(own.folder.files.counters) === `${OUTPUT_LIMIT}`, 5_000);
    }
    let refused = 0;
    // Nobody is answered before all are admitted or refused: what one gives back would let another in.
    first.answer = async (response, seen) => {
      await waitFor(() => refused + first.requests.length >= PARALLEL, 5_000);
      await answerWhole(response, seen);
    };
    const ask = async (cap: number): Promise<number> => {
      const answer = await post(target, "one", { body: chatTo("one", { max_completion_tokens: cap }) });
      await answer.text();
      if (answer.status !== 200) refused += 1;
      return answer.status;
    };
    const statuses = await Promise.all(Array.from({ length: PARALLEL }, () => ask(OUTPUT_CAP)));
    const admitted = statuses.filter((status) => status === 200).length;
    const left = OUTPUT_LIMIT - ((await own?.gateway.usage())?.["output_tokens"] ?? 0);
    const facts = {
      admitted,
      admittedTokens: admitted * OUTPUT_CAP,
      ...(own === undefined ? { absent: "limits" } : {}),
    };
    return { ...facts, left, oneMoreThanLeft: await ask(left + 1), allThatIsLeft: await ask(left) };
  },
  isRight: ({ admitted, admittedTokens, left, oneMoreThanLeft, allThatIsLeft }) =>
    numberOf(admitted) > 0 &&
    numberOf(admittedTokens) <= OUTPUT_LIMIT &&
    left === OUTPUT_LIMIT - 2 * numberOf(admitted) &&
    oneMoreThanLeft === 403 &&
    allThatIsLeft === 200,
};

function ceilingOf(counterFile: string): string | undefined {
  return decodeCounterFile(readFileSync(counterFile))?.leases["output_tokens"]?.applied;
}

let issuer: TestIssuer;

export const credentials: Probe = {
  name: "key revoked; token expired; kid rotated; issuer down",
  right: "401 within 1 s; 401; one look, then accepted; known tokens go on",
  async needs() {
    issuer = await startTestIssuer([await createTestKey("one")]);
    const oidc = [{ name: "one", issuer: issuer.url, audience: AUDIENCE, actors: [CLIENT], roles: [ROLE], scopes: [] }];
    return { options: { oidc }, stop: () => issuer.stop() };
  },
  async observe(target) {
    const { own } = target;
    const statusOf = async (credential: string): Promise<number> => {
      const headers = { authorization: `Bearer ${credential}` };
      const answer = await post(target, "one", { body: chatTo("one"), headers });
      await answer.text();
      return answer.status;
    };
    if (own === undefined)
      return { anyKey: await statusOf("sk-nobody-gave-this"), absent: "keys and tokens of clients" };
    await waitFor(async () => (await own.gateway.ready()).status === 200, 5_000);
    const known = await tokenOf();
    const facts = { known: await statusOf(known), expired: await statusOf(await tokenOf(-600)) };
    const looks = issuer.looks();
    const rotatedKey = await createTestKey("two");
    issuer.keys = [...issuer.keys, rotatedKey];
    const rotated = [await statusOf(await tokenOf(600, 1)), await statusOf(await tokenOf(600, 1))].join(", ");
    const looked = issuer.looks() - looks;
    issuer.isDown = true;
    const whileDown = [await statusOf(known), await statusOf(await tokenOf())].join(", ");
    own.folder.writeControl(control({ revokedKeys: [createHash("sha256").update(API_KEY).digest("hex")] }));
    const revokedMs = await waitFor(async () => (await statusOf(API_KEY)) === 401, 4_000);
    return { ...facts, rotated, looked, whileDown, revokedMs: Math.round(revokedMs ?? Number.NaN) };
  },
  isRight: ({ known, expired, rotated, looked, whileDown, revokedMs }) =>
    known === 200 &&
    expired === 401 &&
    rotated === "200, 200" &&
    looked === 1 &&
    whileDown === "200, 200" &&
    numberOf(revokedMs) <= 1_000,
};

/** A token of the issuer's key at this place. */
async function tokenOf(expiresInSeconds = 600, keyAt = 0): Promise<string> {
  const nowSeconds = Math.floor((performance.timeOrigin + performance.now()) / 1000);
  const claims = {
    iss: issuer.url,
    aud: AUDIENCE,
    sub: OBJECT,
    oid: OBJECT,
    tid: TENANT,
    azp: CLIENT,
    roles: [ROLE],
    iat: nowSeconds - 700,
    exp: nowSeconds + expiresInSeconds,
  };
  return (await issuer.keys[keyAt]?.sign(claims)) ?? "";
}
