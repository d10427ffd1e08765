import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeActingFor, encodeActingFor } from "./acting-for.ts";

describe("acting-for header", () => {
  it.each([
    ["alice@contoso.com", "alice@contoso.com"],
    ["orders team", "orders%20team"],
    ["100%", "100%25"],
    ["Zoë", "Zo%C3%AB"],
    ["a\r\nx-evil: 1", "a%0D%0Ax-evil:%201"],
  ])("encodes %j as %s", (principal, value) => {
    expect(encodeActingFor(principal)).toBe(value);
    expect(decodeActingFor(value)).toBe(principal);
  });

  it("is a legal header value and comes back as it was, for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 253 }), (principal) => {
        const value = encodeActingFor(principal);
        expect(value).toMatch(/^[\x21-\x7e]+$/);
        if (value.length <= 4096) expect(decodeActingFor(value)).toBe(principal);
      }),
    );
  });

  it.each(["", "%", "%zz", "a b", "ü", "x".repeat(4097)])("refuses %j", (value) => {
    expect(decodeActingFor(value)).toBeUndefined();
  });
});
