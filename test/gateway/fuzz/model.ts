import type { ServerResponse } from "node:http";

/** What the peer behind the gateway says, where a property says nothing else. */
export const JSON_ANSWER = JSON.stringify({
  id: "a",
  choices: [{ index: 0, message: { role: "assistant", content: "right" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
});

/** Whole answers: a JSON body, or a short stream where one is wanted. */
export function modelAnswer(response: ServerResponse, body: string): void {
  const wantsStream = /^\s*\{[\s\S]*"stream"\s*:\s*true/.test(body);
  if (!wantsStream) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON_ANSWER);
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end('data: {"choices":[{"index":0,"delta":{"content":"right"}}]}\n\ndata: [DONE]\n\n');
}
