import { countStreams } from "../gateway/traffic/count.ts";
import { CLIENT_KITS, type ClientKit, type Question, toldBy } from "./client-kits.ts";
import type { Probe } from "./probe.ts";
import type { ModelName, ProbeTarget } from "./target.ts";
import { die } from "./upstream.ts";

/** What our gateway has tests of its own for (count.test.ts, clients.test.ts), asked for the table of the bench. */

const MIXED_STREAMS = 10_000;

export const mixedStreams: Probe = {
  name: "10,000 mixed streams, every tenth cancelled",
  right: "counted = sent; cancelled ones between what was seen and what was sent",
  async observe(target) {
    if (target.own === undefined) return { absent: "counting" };
    const seed = Math.floor(performance.now() * 1000);
    const { whole, cancelled, problems } = await countStreams({ streams: MIXED_STREAMS, seed });
    return {
      sent: whole.sent.outputTokens,
      counted: whole.counted.outputTokens,
      cancelled: cancelled.requests,
      cancelledSeen: cancelled.seenTokens,
      cancelledCounted: cancelled.countedTokens,
      cancelledSent: cancelled.sentTokens,
      problems: problems.length,
    };
  },
  isRight: ({ sent, counted, problems }) => sent === counted && problems === 0,
};

type Ask = (kit: (model: ModelName) => ClientKit, api: Question["api"]) => Promise<boolean>;

/** Each says whether the client got what it must get. */
const ASKS: Readonly<Record<string, Ask>> = {
  answer: async (kit, api) =>
    (await kit("emulated").ask({ api, model: "emulated", text: "[[say Good morning]]" })) === "Good morning",
  async stream(kit, api) {
    const pieces = await kit("emulated").stream({ api, model: "emulated", text: "[[tokens 12]]" });
    return pieces.length > 1 && pieces.join("").trim() === "tok ".repeat(12).trim();
  },
  async tool(kit, api) {
    const text = '[[call stock {"sku":"A-7"}]] [[next]] [[say There are 12]]';
    return (await kit("emulated").useTool({ api, model: "emulated", text }, () => "12")) === "There are 12";
  },
  typedError: (kit, api) =>
    kit("emulated")
      .ask({ api, model: "emulated", text: "[[content_filter]]" })
      .then(
        () => false,
        (error: unknown) => toldBy(error) === "400 content_filter",
      ),
  brokenStreamThrows: (kit, api) =>
    kit("one")
      .stream({ api, model: "one", text: "x" })
      .then(
        () => false,
        () => true,
      ),
};

async function failuresOf(target: ProbeTarget, name: string): Promise<string[]> {
  const failures: string[] = [];
  for (const api of CLIENT_KITS[name]?.apis ?? [])
    for (const [what, ask] of Object.entries(ASKS)) {
      const isRight = await ask((model) => kitOf(target, name, model), api).catch(() => false);
      if (!isRight) failures.push(`${api} ${what}`);
    }
  return failures;
}

function kitOf(target: ProbeTarget, name: string, model: ModelName): ClientKit {
  const headers = target.headers(model);
  const apiKey = headers["authorization"]?.replace("Bearer ", "") ?? "none";
  const kit = CLIENT_KITS[name]?.make({ baseURL: `${target.url}/v1`, apiKey, headers, maxRetries: 0 });
  if (kit === undefined) throw new Error(`Cannot ask as ${name} must be a known client`);
  return kit;
}

export const realClients: Probe = {
  name: "real clients",
  right: "chat, responses, streams, tools, typed errors; a broken stream throws",
  async observe(target, { first }) {
    first.answer = die;
    const facts: Record<string, string> = {};
    for (const name of Object.keys(CLIENT_KITS)) {
      const failures = await failuresOf(target, name);
      facts[name] = failures.length === 0 ? "all" : `not ${failures.join(", ")}`;
    }
    return facts;
  },
  isRight: (facts) => Object.values(facts).every((fact) => fact === "all"),
};
