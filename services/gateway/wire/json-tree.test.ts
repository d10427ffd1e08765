import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { itemsOf, memberOf, parseJsonTree, spliceBytes, type JsonNode, textOf } from "./json-tree.ts";

const toValue = (bytes: Buffer, node: JsonNode): unknown => {
  if (node.kind === "string") return textOf(bytes, node);
  if (node.kind === "array") return itemsOf(node).map((item) => toValue(bytes, item));
  if (node.kind === "object") {
    const entries = node.members.map(({ key, value }) => [key, toValue(bytes, value)] as const);
    return Object.fromEntries(entries);
  }
  return JSON.parse(bytes.toString("utf8", node.start, node.end));
};

describe("parseJsonTree()", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(undefined, 1, "\t"), (json, indent) => {
        const value: unknown = JSON.parse(json);
        const bytes = Buffer.from(JSON.stringify(value, null, indent));
        const node = parseJsonTree(bytes);
        expect(node && toValue(bytes, node)).toEqual(JSON.parse(bytes.toString()));
      }),
    );
  });

  it.each(["", "{", '{"a"}', '{"a":}', "[1,]", "[1 2]", '{"a":1,}', '"a', "{} x", "[".repeat(129) + "]".repeat(129)])(
    "takes %s for broken",
    (text) => {
      expect(parseJsonTree(Buffer.from(text))).toBeUndefined();
    },
  );

  it("finds the newest of a repeated key, and keys that are written with escapes", () => {
    const bytes = Buffer.from('{"a":"one","\\u0061":"t\\u0077o é"}');
    expect(textOf(bytes, memberOf(parseJsonTree(bytes), "a"))).toBe("two é");
  });
});

describe("spliceBytes()", () => {
  it("changes what it is told and no other byte", () => {
    const bytes = Buffer.from('{ "a" : "one", "b":1.0, "c":"é" }');
    const root = parseJsonTree(bytes);
    const splices = ["a", "c"].map((key) => {
      const node = memberOf(root, key);
      return { start: node?.start ?? 0, end: node?.end ?? 0, text: `"${key}ü"` };
    });
    expect(spliceBytes(bytes, splices).toString()).toBe('{ "a" : "aü", "b":1.0, "c":"cü" }');
  });
});
