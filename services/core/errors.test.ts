import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ERRORS, errorHeaders, isErrorCode, markBegun, Refusal, toErrorBody } from "./errors.ts";

const rows = Object.entries(ERRORS);
const codes = Object.keys(ERRORS).filter(isErrorCode);

describe("ERRORS", () => {
  it("stands row by row in docs/errors.md", () => {
    const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
    const told = [...page.matchAll(/^\| `(\w+)` +\| (\d+) +\| `(\w+)` +\| (\w+) +\| \S/gm)].map((row) =>
      row.slice(1, 5),
    );
    expect(told).toEqual(rows.map(([code, row]) => [code, String(row.status), row.type, row.next]));
  });

  it.each(codes)("%s tells the client whether to come back", (code) => {
    const row = ERRORS[code];
    const headers = errorHeaders(code);
    expect(headers["x-should-retry"]).toBe(row.next === "stop" ? "false" : undefined);
    expect(headers["retry-after"] !== undefined).toBe(row.next === "wait");
    const challenged = row.status === 401 || code === "insufficient_scope";
    expect(headers["www-authenticate"] !== undefined).toBe(challenged);
  });
});

describe("errorHeaders", () => {
  it("rounds a wait up, in seconds and in milliseconds", () => {
    expect(errorHeaders("rate_limit_exceeded", { retryAfterMs: 1200.5 })).toEqual({
      "retry-after": "2",
      "retry-after-ms": "1201",
    });
  });
});

describe("markBegun", () => {
  it("tells a client not to send again what may have begun", () => {
    const refusal = new Refusal("metering_unavailable", "m", { param: "p" });
    const marked = markBegun(refusal);
    expect(marked).toMatchObject({ code: "metering_unavailable", message: "m", param: "p", mayHaveBegun: true });
    expect(errorHeaders("metering_unavailable", { mayHaveBegun: true })).toEqual({ "x-should-retry": "false" });
    const defect = new Error("defect");
    expect(markBegun(defect)).toBe(defect);
  });
});

describe("toErrorBody", () => {
  it("has OpenAI's four fields, param null unless given", () => {
    expect(toErrorBody("not_found", "No such route")).toEqual({
      error: { message: "No such route", type: "invalid_request_error", param: null, code: "not_found" },
    });
    expect(toErrorBody("invalid_value", "m", "model").error.param).toBe("model");
  });
});
