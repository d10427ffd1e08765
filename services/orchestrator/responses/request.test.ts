import { describe, expect, it } from "vitest";
import { Refusal } from "#core/errors.ts";
import { parseCreateRequest } from "./request.ts";

function refusalOf(body: unknown): { code: string; message: string; param: string | null } {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  try {
    parseCreateRequest(Buffer.from(text));
  } catch (error) {
    if (error instanceof Refusal) return { code: error.code, message: error.message, param: error.param };
    throw error;
  }
  throw new Error("The request was accepted");
}

const CANNOT = "Cannot create the response as";

describe("parseCreateRequest", () => {
  it.each([
    ["{", "invalid_json", null, "the body must be one JSON object in UTF-8"],
    ["[]", "invalid_json", null, "the body must be one JSON object in UTF-8"],
    [{}, "invalid_value", "input", "input must be a string or a list of items"],
    [
      { input: [] },
      "invalid_value",
      "input",
      "input must not be empty without previous_response_id: current value is []",
    ],
    [{ input: 7 }, "invalid_value", "input", "input must be a string or a list of items: current value is 7"],
    [
      { input: [{ role: "robot", content: "x" }] },
      "invalid_value",
      "input.0.role",
      'input.0.role must be user, system, developer or assistant: current value is "robot"',
    ],
    [
      { input: [{ type: "web_search_call" }] },
      "invalid_value",
      "input.0.type",
      'input.0.type must be message, function_call, function_call_output, mcp_call or reasoning: current value is "web_search_call"',
    ],
    [
      { input: [{ role: "user", content: [{ type: "input_file" }] }] },
      "invalid_value",
      "input.0.content.0.type",
      'input.0.content.0.type must be input_text, input_image, output_text or refusal: current value is "input_file"',
    ],
    [{ input: "x", temperature: 3 }, "invalid_value", "temperature", "temperature must be <= 2: current value is 3"],
    [
      { input: "x", max_output_tokens: 1.5 },
      "invalid_value",
      "max_output_tokens",
      "max_output_tokens must be a whole number: current value is 1.5",
    ],
    [
      { input: "x", tools: [{ type: "mcp", server_label: "mine", server_url: "https://a" }] },
      "invalid_value",
      "tools.0.type",
      'tools.0.type must be "function": the agent\'s own tools are set in its AgentDeployment, others are not supported: current value is "mcp"',
    ],
    [
      { input: "x", tools: [{ type: "function", name: "a b" }] },
      "invalid_value",
      "tools.0.name",
      'tools.0.name must be 1 to 64 letters, digits, _ or -: current value is "a b"',
    ],
    [
      { input: "x", tool_choice: "sometimes" },
      "invalid_value",
      "tool_choice",
      'tool_choice must be "none", "auto", "required", a function or allowed_tools: current value is "sometimes"',
    ],
    [
      { input: "x", metadata: { a: 1 } },
      "invalid_value",
      "metadata.a",
      "metadata.a must be a string: current value is 1",
    ],
    [
      { input: "x", background: true },
      "unsupported_parameter",
      "background",
      "background must be false: background runs are not supported in this version: current value is true",
    ],
    [
      { input: "x", conversation: "conv_1" },
      "unsupported_parameter",
      "conversation",
      'conversation must be absent: use previous_response_id: current value is "conv_1"',
    ],
    [
      { input: "x", top_logprobs: 3 },
      "unsupported_parameter",
      "top_logprobs",
      "top_logprobs must be 0: log probabilities are not supported: current value is 3",
    ],
    [
      { input: [{ type: "mcp_approval_response", approval_request_id: "mcpr_1", approve: true }] },
      "approval_forbidden",
      "input",
      "input must hold no mcp_approval_response: an Approval is decided in the cluster",
    ],
  ])("refuses %j", (...[body, code, param, rest]) => {
    expect(refusalOf(body)).toEqual({ code, param, message: `${CANNOT} ${rest}` });
  });

  it("takes nothing new to say with previous_response_id, and a question of the agent that is sent back", () => {
    const parse = (body: object): unknown => parseCreateRequest(Buffer.from(JSON.stringify(body))).input;
    expect(parse({ input: [], previous_response_id: "resp_1" })).toEqual([]);
    const question = { type: "mcp_approval_request", id: "mcpr_1", server_label: "s", name: "n", arguments: "{}" };
    expect(parse({ input: [question, { role: "user", content: "Well?" }] })).toMatchObject([
      { type: "mcp_approval_request" },
      { type: "message" },
    ]);
  });

  it("accepts what SDKs send and gives it one form", () => {
    const request = parseCreateRequest(
      Buffer.from(
        JSON.stringify({
          input: [
            { role: "user", content: "Hello" },
            {
              type: "message",
              role: "assistant",
              id: "msg_1",
              content: [{ type: "output_text", text: "Hi", annotations: [] }],
            },
            { type: "reasoning", id: "rs_1", summary: [] },
            { type: "function_call", call_id: "c", name: "f", arguments: "{}", id: "fc_1", status: "completed" },
            { type: "function_call_output", call_id: "c", output: [{ type: "input_text", text: "42" }] },
            { role: "user", content: [{ type: "input_image", image_url: "https://a/b.png" }] },
          ],
          tools: [{ type: "function", name: "f" }],
          temperature: null,
          stream_options: { include_obfuscation: false },
          truncation: "auto",
        }),
      ),
    );
    expect(request.input).toEqual([
      { type: "message", role: "user", content: [{ type: "input_text", text: "Hello" }] },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "Hi" }] },
      { type: "reasoning" },
      { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: "42" },
      {
        type: "message",
        role: "user",
        content: [{ type: "input_image", image_url: "https://a/b.png", detail: "auto" }],
      },
    ]);
    expect(request.tools).toEqual([{ type: "function", name: "f", description: null, parameters: null, strict: null }]);
    expect(request).toMatchObject({ model: null, store: true, stream: false, tool_choice: "auto", temperature: null });
  });
});
