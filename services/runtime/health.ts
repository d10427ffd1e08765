import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

export interface HealthOptions {
  /** Nothing when live, else the reason it is not; shown in the 503 body of /livez. */
  readonly live?: () => string | undefined;
  /** Nothing when ready, else the reason it is not; shown in the 503 body of /readyz. */
  readonly ready: () => string | undefined;
  /** The text for /metrics with its content type. */
  readonly metrics?: () => Promise<{ readonly text: string; readonly contentType: string }>;
}

/** Answers GET /livez, /readyz and /metrics; every other request goes to `next` (404 if there is none). */
export function withHealth(options: HealthOptions, next?: RequestListener): RequestListener {
  return (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0];
    if (request.method === "GET" && path === "/livez") answerProbe(response, options.live?.());
    else if (request.method === "GET" && path === "/readyz") answerProbe(response, options.ready());
    else if (request.method === "GET" && path === "/metrics" && options.metrics)
      void answerMetrics(response, options.metrics);
    else if (next) next(request, response);
    else answerNotFound(request, response);
  };
}

function answerProbe(response: ServerResponse, problem: string | undefined): void {
  response.writeHead(problem === undefined ? 200 : 503, { "content-type": "text/plain; charset=utf-8" });
  response.end(`${problem ?? "ok"}\n`);
}

async function answerMetrics(
  response: ServerResponse,
  metrics: () => Promise<{ readonly text: string; readonly contentType: string }>,
): Promise<void> {
  try {
    const { text, contentType } = await metrics();
    response.writeHead(200, { "content-type": contentType });
    response.end(text);
  } catch {
    response.writeHead(500, { "content-type": "text/plain; charset=utf-8" });
    response.end("Cannot render metrics\n");
  }
}

function answerNotFound(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  response.writeHead(404, { "content-type": "application/json" });
  response.end(
    JSON.stringify({ error: { message: "Not found", type: "invalid_request_error", param: null, code: "not_found" } }),
  );
}
