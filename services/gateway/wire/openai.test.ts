import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Refusal } from "#core/errors.ts";
import { checkModelRequest, type ModelOperation, parseRequest, toUpstreamBody } from "./openai.ts";

const TARGET = { model: "gpt-5-mini", outputTokensMax: 512 };

function bodyFor(operation: ModelOperation, text: string): string {
  return toUpstreamBody(operation, parseRequest(Buffer.from(text)), TARGET).bytes.toString();
}

describe("toUpstreamBody()", () => {
  it.each([
    ["chat", '{"model":"gpt","messages":[]}', '{"max_completion_tokens":512,"model":"gpt-5-mini","messages":[]}'],
    ["chat", '{"model":"gpt","max_tokens":7}', '{"model":"gpt-5-mini","max_tokens":7}'],
    ["chat", '{"model":"gpt","max_completion_tokens":null}', '{"model":"gpt-5-mini","max_completion_tokens":512}'],
    ["responses", '{ "model" : "gpt" }', '{"max_output_tokens":512, "model" : "gpt-5-mini" }'],
    ["embeddings", '{"model":"gpt","input":"a"}', '{"model":"gpt-5-mini","input":"a"}'],
    ["embeddings", '{"model":"gpt-5-mini","input":"a"}', '{"model":"gpt-5-mini","input":"a"}'],
    [
      "chat",
      '{"model":"gpt","n":1,"max_tokens":7,"stream":true}',
      '{"stream_options":{"include_usage":true},"model":"gpt-5-mini","n":1,"max_tokens":7,"stream":true}',
    ],
    [
      "chat",
      '{"model":"gpt","max_tokens":7,"stream":true,"stream_options":{"include_usage":true}}',
      '{"model":"gpt-5-mini","max_tokens":7,"stream":true,"stream_options":{"include_usage":true}}',
    ],
    [
      "chat",
      '{"model":"gpt","max_tokens":7,"stream":true,"stream_options":{"include_obfuscation":false}}',
      '{"model":"gpt-5-mini","max_tokens":7,"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true}}',
    ],
  ] as const)("%s %s", (operation, text, expected) => {
    expect(bodyFor(operation, text)).toBe(expected);
  });

  it("changes nothing that it need not, whatever else the body holds", () => {
    const others = fc.dictionary(
      fc.string().filter((key) => !/^(model|stream|max_|n$|background)/.test(key)),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(others, fc.constantFrom("chat", "responses", "embeddings"), (rest, operation) => {
        const sent: unknown = JSON.parse(bodyFor(operation, JSON.stringify({ ...rest, model: "gpt" })));
        const { model, max_completion_tokens: _, max_output_tokens: __, ...kept } = Object(sent);
        expect(model).toBe("gpt-5-mini");
        expect(JSON.stringify(kept)).toBe(JSON.stringify(JSON.parse(JSON.stringify(rest))));
      }),
    );
  });
});

describe("a request that is refused", () => {
  it.each([
    ["chat", '{"model":7}', "model", "Cannot accept the request as model must be a string: current value is 7"],
    [
      "chat",
      '{"model":""}',
      "model",
      'Cannot accept the request as model must be a string of 1 to 256 characters: current value is ""',
    ],
    [
      "chat",
      '{"model":"a","stream":"yes"}',
      "stream",
      'Cannot accept the request as stream must be true or false: current value is "yes"',
    ],
    [
      "chat",
      '{"model":"a","n":0}',
      "n",
      "Cannot accept the request as n must be an integer from 1 to 128: current value is 0",
    ],
    [
      "chat",
      '{"model":"a","n":"3"}',
      "n",
      'Cannot accept the request as n must be an integer from 1 to 128: current value is "3"',
    ],
    [
      "chat",
      '{"model":"a","max_tokens":-1}',
      "max_tokens",
      "Cannot accept the request as max_tokens must be an integer of at least 1: current value is -1",
    ],
    [
      "chat",
      '{"model":"a","max_completion_tokens":1.5}',
      "max_completion_tokens",
      "Cannot accept the request as max_completion_tokens must be an integer of at least 1: current value is 1.5",
    ],
    [
      "responses",
      '{"model":"a","max_output_tokens":1e400}',
      "max_output_tokens",
      "Cannot accept the request as max_output_tokens must be an integer of at least 1: current value is 1e400",
    ],
    [
      "chat",
      '{"model":"a","stream_options":true}',
      "stream_options",
      "Cannot accept the request as stream_options must be an object: current value is true",
    ],
    ["chat", '{"model":"cheap","model":"dear"}', "model", "Cannot accept the request as model must stand in it once"],
    [
      "responses",
      '{"model":"a","background":true}',
      "background",
      "Cannot run a model in the background as its usage could not be counted: background must be false",
    ],
  ] as const)("%s %s names %s", (...[operation, text, param, message]) => {
    const refuse = (): void => checkModelRequest(operation, parseRequest(Buffer.from(text)));
    expect(refuse).toThrow(message);
    expect(refuse).toThrow(expect.objectContaining({ param }) satisfies Partial<Refusal>);
  });
});
