import { expect, it } from "vitest";
import { createSidecarLog } from "./log.ts";

it("writes the product's shape: level, time, component, fields, errors in words; nothing below its level", () => {
  const lines: string[] = [];
  const log = createSidecarLog("info", (line) => lines.push(line));
  log.debug({ a: 1 }, "Looked");
  log.info("Started");
  log.error({ err: new TypeError("no"), dimension: "d" }, "Failed");
  const [started, failed] = lines.map((line) => JSON.parse(line));
  expect(lines).toHaveLength(2);
  expect(started).toMatchObject({
    level: "info",
    component: "sidecar",
    msg: "Started",
    time: expect.stringMatching(/Z$/),
  });
  expect(failed).toMatchObject({
    level: "error",
    msg: "Failed",
    dimension: "d",
    err: { type: "TypeError", message: "no", stack: expect.any(String) },
  });
});
