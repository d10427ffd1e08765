import { connect } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ERRORS } from "#core/errors.ts";
import { startLocalGateway } from "../../../services/gateway/test-local.ts";
import { createFolder } from "../../../services/gateway/test-world.ts";
import { ALL, answerWell, toInit } from "./asks.ts";
import { CASES } from "./cases.ts";
import { type AuditWorld, codeOf, startAuditWorld } from "./world.ts";

/**
 * The law of audit: each request that is answered leaves exactly one record, with the id, the status and the code of its answer.
 * The table of refusals is that of services/core/errors.ts: a new code without a case does not compile, and one that no answer
 * brings fails.
 */

let world: AuditWorld;
const seen = new Set<string>();

beforeAll(async () => {
  world = await startAuditWorld();
});
afterAll(() => world.stop());
beforeEach(() => {
  world.model.answer = answerWell;
  world.orchestrator.answer = answerWell;
});

const rows = Object.entries(CASES).flatMap(([code, cases]) => cases.map((each, index) => [code, index, each] as const));

describe("an answer that refuses", () => {
  it.each(rows)("with %s leaves one record that says so, way %i", async (name, _, each) => {
    const undo = each.arrange?.(world);
    const asks = typeof each.asks === "function" ? await each.asks(world) : each.asks;
    const got = [];
    for (const ask of asks) got.push(await world.send(ask));
    undo?.();
    const refused = got.slice(each.answered ?? 0);
    expect(refused.map(({ code }) => code)).toEqual(refused.map(() => name));
    for (const { id, status, code } of refused) {
      const record = await world.recordOf(id);
      expect(record).toMatchObject({ status, code, decision: each.isAllowed ? "allow" : "refuse" });
      expect(typeof record["reason"]).toBe(each.isAllowed ? "undefined" : "string");
    }
    if (refused.length > 0) seen.add(name);
  });

  it("leaves one record before there is a configuration, and before there is a grant", async () => {
    const folder = createFolder();
    const local = await startLocalGateway(folder);
    for (const ask of ALL) {
      const answer = await fetch(`${local.server.url}${ask.path}`, toInit(ask));
      expect(codeOf(await answer.text())).toBe("not_ready");
      const id = answer.headers.get("x-request-id");
      expect(local.lines.filter(({ requestId }) => requestId === id)).toMatchObject([
        { status: 503, code: "not_ready" },
      ]);
    }
    await local.stop();
    folder.remove();
    seen.add("not_ready");
  });

  const good = `GET /v1/models HTTP/1.1\r\napi-key: x\r\n`;
  const late = Object.assign(new Error("Late"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });
  it.each([
    ["no HTTP", "GARBAGE\r\n\r\n", 400, "invalid_value"],
    ["no host", `${good}\r\n`, 400, "invalid_value"],
    ["an odd expectation", `${good}host: x\r\nexpect: much\r\n\r\n`, 401, "invalid_api_key"],
    ["an upgrade", `${good}host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`, 401, "invalid_api_key"],
    ["headers without end", `${good}host: x\r\na: ${"x".repeat(40_000)}\r\n`, 431, "request_too_large"],
    [
      "a body that is none",
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\napi-key: KEY\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n`,
      400,
      "invalid_value",
    ],
    ["a head that does not arrive", good, 408, "request_timeout"],
  ])("leaves one record of a request with %s", async (...[, text, status, code]) => {
    const before = world.local.lines.length;
    const port = Number(new URL(world.local.server.url).port);
    const { server } = world.local.server;
    const socket = connect(port, "127.0.0.1");
    // The time that a head may take is a minute: here it is over at once.
    if (status === 408) server.once("connection", (own) => setTimeout(() => server.emit("clientError", late, own), 50));
    const key = new Headers(toInit({ path: "/" }).headers).get("api-key") ?? "";
    socket.write(text.replace("KEY", key));
    let answer = "";
    await new Promise<void>((resolve) => {
      socket.on("data", (chunk: Buffer) => {
        answer += chunk.toString();
        if (answer.includes('"code"')) resolve();
      });
    });
    socket.destroy();
    const id = /x-request-id: (\S+)/.exec(answer)?.[1] ?? "none";
    world.ids.push(id);
    seen.add(codeOf(answer) ?? "none");
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    await world.recordOf(id);
    const since = world.local.lines.slice(before).filter(({ audit }) => audit === true);
    expect(since).toMatchObject([{ requestId: id, status, code, decision: "refuse" }]);
  });

  it("has been brought about for every code there is", () => {
    expect([...seen].toSorted()).toEqual(Object.keys(ERRORS).toSorted());
  });

  it("leaves no record of anything else, and metrics that say the same", async () => {
    const records = world.local.lines.filter(({ audit }) => audit === true);
    const recorded = records.map(({ requestId }) => requestId);
    expect(new Set(recorded).size).toBe(recorded.length);
    // One stranger's request was in flight while the pod was full, and left.
    expect(recorded.filter((id) => !world.ids.includes(String(id)))).toHaveLength(1);
    expect(world.ids.filter((id) => !recorded.includes(id))).toEqual([]);
    const text = await world.local.metrics();
    for (const code of Object.keys(ERRORS)) {
      const refused = records.filter((record) => record["code"] === code && record["decision"] === "refuse").length;
      const counted = new RegExp(`supercargo_gateway_refusals_total\\{reason="${code}"\\} (\\d+)`).exec(text)?.[1];
      expect([code, Number(counted ?? 0)]).toEqual([code, refused]);
    }
  });
});
