import { type Facts, numberOf, type Probe, waitFor } from "./probe.ts";
import { chatTo, type ModelName, post, type ProbeTarget, readAll } from "./target.ts";
import { answerWhole, CHAT_ANSWER, deltaEvent, type ScriptedModel, sendEvents, die } from "./upstream.ts";

const DONE = "data: [DONE]\n\n";
const TOKEN = "tok ";

/** Upstream's share of a probe in which the client leaves: when its connection was closed, in ms after that. */
async function closedAfterMs(model: ScriptedModel, leftMs: number): Promise<number | string> {
  const [seen] = model.requests;
  await waitFor(() => seen?.cutAtMs !== undefined, 4_000);
  return seen?.cutAtMs === undefined ? "not within 4 s" : Math.round(seen.cutAtMs - leftMs);
}

async function countedOutput(target: ProbeTarget): Promise<number | string> {
  const usage = await target.own?.gateway.usage();
  return usage === undefined ? "nothing" : (usage["output_tokens"] ?? 0);
}

export const clientLeavesInStream: Probe = {
  name: "client aborts mid-stream",
  right: "upstream closed <= 1.5 s; process lives; settled by counted output",
  async observe(target, { first }) {
    const texts = Array.from({ length: 1_000 }, () => deltaEvent(TOKEN));
    first.answer = (response, seen) => sendEvents(response, seen, { texts, pauseMs: 5 });
    const stop = new AbortController();
    const answer = await post(target, "one", { body: chatTo("one", { stream: true }), signal: stop.signal });
    let bytes = 0;
    for await (const chunk of answer.body ?? []) {
      bytes += chunk.length;
      if (bytes > 20 * deltaEvent(TOKEN).length) break;
    }
    const leftMs = performance.now();
    stop.abort();
    const closed = await closedAfterMs(first, leftMs);
    const counted = await countedOutput(target);
    return { closed, isAlive: target.isAlive(), counted, sent: first.requests[0]?.sentEvents ?? 0 };
  },
  isRight: ({ closed, isAlive, counted, sent }) =>
    numberOf(closed) <= 1_500 &&
    isAlive === true &&
    numberOf(counted) <= numberOf(sent) &&
    numberOf(counted) >= numberOf(sent) - 5,
};

export const clientLeavesBeforeHeaders: Probe = {
  name: "client aborts before headers",
  right: "upstream closed <= 1 s; process lives; nothing counted",
  async observe(target, { first }) {
    first.answer = () => {};
    const stop = new AbortController();
    const call = post(target, "one", { body: chatTo("one"), signal: stop.signal }).catch(() => undefined);
    await waitFor(() => first.requests.length > 0, 4_000);
    const leftMs = performance.now();
    stop.abort();
    await call;
    const closed = await closedAfterMs(first, leftMs);
    return { closed, isAlive: target.isAlive(), counted: await countedOutput(target) };
  },
  isRight: ({ closed, isAlive, counted }) => numberOf(closed) <= 1_000 && isAlive === true && counted === 0,
};

/** Asks once while the first model says 429 twice. */
async function askBusyModel(target: ProbeTarget, name: ModelName, first: ScriptedModel): Promise<Facts> {
  const begun = first.requests.length;
  let refusals = 2;
  first.answer = (response, seen) => {
    refusals -= 1;
    if (refusals < 0) return answerWhole(response, seen);
    response.writeHead(429, { "content-type": "application/json", "retry-after": "2" });
    response.end('{"error":{"message":"busy","type":"rate_limit_error","param":null,"code":"429"}}');
    return undefined;
  };
  const startMs = performance.now();
  const answer = await post(target, name, { body: chatTo(name) });
  await answer.text();
  const tookMs = Math.round(performance.now() - startMs);
  const at = first.requests.slice(begun).map((seen) => seen.atMs);
  const waits = at.slice(1).map((ms, index) => Math.round(ms - (at[index] ?? 0)));
  return { status: answer.status, waitsMs: waits.join(", "), tookMs };
}

export const busyTwice: Probe = {
  name: "upstream 429 twice with Retry-After: 2",
  right: "two waits of 2 s; none with a second deployment",
  async observe(target, { first }) {
    const alone = await askBusyModel(target, "one", first);
    const withSecond = await askBusyModel(target, "two", first);
    return {
      status: alone["status"] ?? 0,
      waitsMs: alone["waitsMs"] ?? "",
      statusWithSecond: withSecond["status"] ?? 0,
      tookMsWithSecond: withSecond["tookMs"] ?? 0,
    };
  },
  isRight: ({ status, waitsMs, statusWithSecond, tookMsWithSecond }) => {
    const waits = String(waitsMs).split(", ").map(Number);
    return (
      status === 200 &&
      waits.length === 2 &&
      waits.every((ms) => ms >= 1_990 && ms < 3_000) &&
      statusWithSecond === 200 &&
      numberOf(tookMsWithSecond) < 1_900
    );
  },
};

export const upstreamDies: Probe = {
  name: "upstream dies mid-stream",
  right: "error event (chat; Responses also response.failed), no [DONE], no clean end",
  async observe(target, { first }) {
    const facts: Record<string, boolean> = {};
    first.answer = die;
    for (const [route, path] of [
      ["chat", "/v1/chat/completions"],
      ["responses", "/v1/responses"],
    ] as const) {
      const request = route === "chat" ? chatTo("one", { stream: true }) : { model: "one", input: "x", stream: true };
      const { text, isBroken } = await readAll(await post(target, "one", { path, body: request }));
      facts[`${route}Error`] = route === "chat" ? text.includes('"error"') : text.includes("event: error");
      facts[`${route}CleanEnd`] = text.includes("[DONE]") || !isBroken;
      if (route === "responses") facts["responsesFailed"] = text.includes('"type":"response.failed"');
    }
    return facts;
  },
  isRight: (facts) =>
    facts["chatError"] === true &&
    facts["chatCleanEnd"] === false &&
    facts["responsesError"] === true &&
    facts["responsesFailed"] === true &&
    facts["responsesCleanEnd"] === false,
};

export const usageNotAsked: Probe = {
  name: "client did not ask for usage",
  right: "no usage chunk, other bytes equal, usage counted",
  async observe(target, { first }) {
    const kept = [deltaEvent("a"), 'data: {"choices":[],"prompt_filter_results":[]}\n\n', deltaEvent("é😀")];
    const usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n';
    first.answer = async (response, seen) => {
      const texts = [...kept, ...(seen.body.includes('"include_usage":true') ? [usage] : []), DONE];
      await sendEvents(response, seen, { texts, pauseMs: 1 });
      response.end();
    };
    const { text } = await readAll(await post(target, "one", { body: chatTo("one", { stream: true }) }));
    return {
      usageChunk: text.includes('"usage":{'),
      otherBytesEqual: text.replace(usage, "") === [...kept, DONE].join(""),
      counted: await countedOutput(target),
      ...(target.own === undefined ? { absent: "counting" } : {}),
    };
  },
  isRight: ({ usageChunk, otherBytesEqual, counted }) =>
    usageChunk === false && otherBytesEqual === true && counted === 2,
};

export const drains: Probe = {
  name: "SIGTERM with one JSON and one stream in flight",
  right: "both end whole; new connections refused; exit 0",
  async observe(target, { first }) {
    const texts = [...Array.from({ length: 100 }, () => deltaEvent(TOKEN)), DONE];
    first.answer = async (response, seen) => {
      if (seen.body.includes('"stream":true')) {
        await sendEvents(response, seen, { texts, pauseMs: 25 });
        response.end();
      } else {
        await waitFor(() => false, 500);
        await answerWhole(response, seen);
      }
    };
    const broken = { text: "", isBroken: true };
    const json = post(target, "one", { body: chatTo("one") }).then(readAll, () => broken);
    const stream = post(target, "one", { body: chatTo("one", { stream: true }) }).then(readAll, () => broken);
    await waitFor(() => first.requests.length === 2, 4_000);
    let exit: number | null | undefined;
    void target.terminate().then((code) => (exit = code));
    const refusedMs = await waitFor(() => isRefused(target), 4_000);
    const [jsonText, streamText] = [(await json).text, (await stream).text];
    await waitFor(() => exit !== undefined, 6_000);
    return {
      jsonWhole: jsonText === CHAT_ANSWER,
      streamWhole: streamText === texts.join(""),
      newRefused: refusedMs !== undefined,
      exit: exit ?? "none",
    };
  },
  isRight: ({ jsonWhole, streamWhole, newRefused, exit }) =>
    jsonWhole === true && streamWhole === true && newRefused === true && exit === 0,
};

/** Whether a new connection gets nothing, or is told to go elsewhere. */
async function isRefused(target: ProbeTarget): Promise<boolean> {
  const answer = await fetch(`${target.url}/v1/models`, { headers: target.headers("one") }).catch(() => undefined);
  await answer?.arrayBuffer();
  return answer === undefined || answer.status === 503;
}
