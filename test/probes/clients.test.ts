import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { GatewayGuardrail } from "#core/api/pod-config.ts";
import { API_KEY, eventually } from "../../services/gateway/test-world.ts";
import { CLIENT_KITS, type ClientKit, type MakeKit, toldBy } from "./client-kits.ts";
import { type Models, type ProbeTarget, startModels, startOurs } from "./target.ts";
import { answerWhole, die } from "./upstream.ts";

/** Every answer goes through the rewriter of streams: what no client may notice where nothing is found. */
const MASK: GatewayGuardrail = {
  type: "LocalRules",
  name: "local",
  phase: "Output",
  action: "Mask",
  failureMode: "Closed",
  detect: ["Emails"],
  denyWords: [],
  allowWords: [],
};

let models: Models;
let target: ProbeTarget;

beforeAll(async () => {
  models = await startModels();
  target = await startOurs({ models, guardrails: [MASK] });
});
afterEach(() => {
  models.first.answer = answerWhole;
});
afterAll(async () => {
  await target?.stop();
  await models?.stop();
});

const kitOf = (make: MakeKit, apiKey = API_KEY, maxRetries = 2): ClientKit =>
  make({ baseURL: `${target.url}/v1`, apiKey, maxRetries });

describe.each(Object.entries(CLIENT_KITS))("%s", (_, { make, apis }) => {
  it.each(apis)("%s: gets an answer, whole and as a stream, and both are counted", async (api) => {
    const counted = await target.own?.counted(async () => {
      const question = { api, model: "emulated", text: "[[say Good morning, Ada]]" };
      expect(await kitOf(make).ask(question)).toBe("Good morning, Ada");
      const pieces = await kitOf(make).stream({ ...question, text: "[[tokens 12]]" });
      expect(pieces.join("").trim()).toBe("tok ".repeat(12).trim());
      expect(pieces.length).toBeGreaterThan(1);
    });
    expect(counted).toMatchObject({ model_requests: 2 });
    expect(counted?.["output_tokens"]).toBeGreaterThan(12);
  });

  it.each(apis)("%s: gets an answer with a label where a guardrail masked it", async (api) => {
    const question = { api, model: "emulated", text: "[[say Write to ada@example.com today]]" };
    expect(await kitOf(make).ask(question)).toBe("Write to [email] today");
    expect((await kitOf(make).stream(question)).join("")).toBe("Write to [email] today");
  });

  it.each(apis)("%s: runs a tool and answers with its result", async (api) => {
    const asked: string[] = [];
    const text = '[[call stock {"sku":"A-7"}]] [[next]] [[say There are 12]]';
    const counted = await target.own?.counted(async () => {
      const answer = await kitOf(make).useTool({ api, model: "emulated", text }, (sku) => {
        asked.push(sku);
        return "12";
      });
      expect(answer).toBe("There are 12");
    });
    expect(asked).toEqual(["A-7"]);
    expect(counted).toMatchObject({ model_requests: 2 });
  });

  it.each(apis)("%s: asks again what the gateway gave up on", async (api) => {
    let refusals = 4;
    models.first.answer = (response, seen) => {
      refusals -= 1;
      if (refusals < 0) return answerWhole(response, seen);
      response.writeHead(429, { "content-type": "application/json", "retry-after-ms": "20" });
      response.end('{"error":{"message":"busy","type":"rate_limit_error","param":null,"code":"429"}}');
      return undefined;
    };
    const before = models.first.requests.length;
    expect(await kitOf(make, API_KEY, 4).ask({ api, model: "one", text: "x" })).toBe("Hello");
    expect(models.first.requests.length - before).toBe(5);
  });

  it.each(apis)("%s: throws when the model dies in a stream: a part never looks whole", async (api) => {
    models.first.answer = die;
    const streamed = kitOf(make, API_KEY, 0).stream({ api, model: "one", text: "x" });
    await expect(streamed).rejects.toBeInstanceOf(Error);
  });

  it.each([
    ["a wrong key", "sk-wrong", { model: "emulated", text: "x" }, "401 invalid_api_key"],
    ["an unknown alias", API_KEY, { model: "nobody-knows", text: "x" }, "404 model_not_found"],
    ["a filtered prompt", API_KEY, { model: "emulated", text: "[[content_filter]]" }, "400 content_filter"],
  ] as const)("sees %s as its own typed error", async (...[, key, question, told]) => {
    for (const api of apis) {
      const failed: unknown = await kitOf(make, key)
        .ask({ api, ...question })
        .catch((error: unknown) => error);
      expect(failed).toBeInstanceOf(Error);
      expect(toldBy(failed)).toBe(told);
    }
  });

  it("leaves nothing behind", async () => {
    await eventually(async () =>
      (await target.own?.gateway.metrics())?.includes("supercargo_gateway_in_flight_requests 0") === true
        ? true
        : undefined,
    );
  });
});

describe("a wait of two minutes", () => {
  let longTarget: ProbeTarget;
  beforeAll(async () => {
    longTarget = await startOurs({ models });
  });
  afterAll(async () => {
    await longTarget?.stop();
  });
  const refusals = async (): Promise<number> => {
    const exposition = (await longTarget.own?.gateway.metrics()) ?? "";
    return Number(/_refusals_total\{reason="rate_limit_exceeded"\} (\d+)/.exec(exposition)?.[1] ?? 0);
  };

  it.each(Object.entries(CLIENT_KITS).filter(([, { obeysLongWaits }]) => obeysLongWaits))(
    "is not waited for by %s, nor does it ask again",
    async (_, { make, apis }) => {
      models.first.answer = (response) => {
        response.writeHead(429, { "content-type": "application/json", "retry-after": "120" });
        response.end('{"error":{"message":"busy","type":"rate_limit_error","param":null,"code":"429"}}');
      };
      for (const api of apis) {
        const before = await refusals();
        const kit = make({ baseURL: `${longTarget.url}/v1`, apiKey: API_KEY, maxRetries: 2 });
        await expect(kit.ask({ api, model: "one", text: "x" })).rejects.toBeInstanceOf(Error);
        expect((await refusals()) - before).toBe(1);
      }
    },
  );
});
