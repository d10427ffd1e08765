import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSampledBy, readTraceContext, writeTraceparent } from "./trace-context.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

describe("readTraceContext()", () => {
  it.each([
    [`00-${TRACE}-${SPAN}-01`, true],
    [`00-${TRACE}-${SPAN}-00`, false],
    [`00-${TRACE}-${SPAN}-03`, true],
    [`cc-${TRACE}-${SPAN}-01-what-comes-later`, true],
  ])("reads %s", (header, isSampled) => {
    expect(readTraceContext(header, undefined)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled, state: undefined });
  });

  it.each([
    [undefined],
    [""],
    [`ff-${TRACE}-${SPAN}-01`],
    [`00-${TRACE}-${SPAN}-01-more`],
    [`00-${"0".repeat(32)}-${SPAN}-01`],
    [`00-${TRACE}-${"0".repeat(16)}-01`],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`],
    [`00-${TRACE}-${SPAN}-1`],
    [[`00-${TRACE}-${SPAN}-01`]],
  ])("takes %j for none", (header) => {
    expect(readTraceContext(header, "a=b")).toBeUndefined();
  });

  it.each([
    ["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"],
    ["a=b\r\nx-evil: 1", undefined],
    ["a".repeat(513), undefined],
    ["", undefined],
  ])("passes on a state only where it is fit: %j", (state, expected) => {
    expect(readTraceContext(`00-${TRACE}-${SPAN}-01`, state)?.state).toBe(expected);
  });

  it("reads what it wrote", () => {
    fc.assert(
      fc.property(fc.boolean(), (isSampled) => {
        const context = { traceId: TRACE, spanId: SPAN, isSampled, state: undefined };
        expect(readTraceContext(writeTraceparent(context), undefined)).toEqual(context);
      }),
    );
  });
});

it("samples about the share it is told", () => {
  const ids = Array.from({ length: 1000 }, (_, at) => (at * 2654435761 * 4294967296).toString(16).padStart(32, "0"));
  expect(ids.filter((id) => isSampledBy(0, id))).toHaveLength(0);
  expect(ids.filter((id) => isSampledBy(1, id))).toHaveLength(1000);
  expect(isSampledBy(0.5, `${"f".repeat(19)}7fffffffffff0`)).toBe(true);
  expect(isSampledBy(0.5, `${"0".repeat(19)}8000000000000`)).toBe(false);
});
