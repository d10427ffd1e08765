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
export function withHealth(options: HealthOptions, next: RequestListener = answerNotFound): RequestListener {
  const routes = new Map<string, (response: ServerResponse) => void>([
    ["/livez", (response) => answerProbe(response, options.live?.())],
    ["/readyz", (response) => answerProbe(response, options.ready())],
  ]);
  const { metrics } = options;
  if (metrics) routes.set("/metrics", (response) => void answerMetrics(response, metrics));
  return (request, response) => {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const answer = request.method === "GET" ? routes.get(path) : undefined;
    if (answer) answer(response);
    else next(request, response);
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
