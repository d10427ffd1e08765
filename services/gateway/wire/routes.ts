import { Refusal } from "#core/errors.ts";

/** The closed set of routes: also the values of the `route` label. */
type RouteName = "chat" | "responses" | "embeddings" | "models" | "stored_response" | "unknown";

export interface Route {
  readonly name: RouteName;
  /** Path and query as they go to the orchestrator. */
  readonly target: string;
  readonly hasBody: boolean;
}

interface Row {
  readonly path: RegExp;
  readonly methods: readonly string[];
  readonly name: RouteName;
}

const ROWS: readonly Row[] = [
  { path: /^\/v1\/chat\/completions$/, methods: ["POST"], name: "chat" },
  { path: /^\/v1\/responses$/, methods: ["POST"], name: "responses" },
  { path: /^\/v1\/embeddings$/, methods: ["POST"], name: "embeddings" },
  { path: /^\/v1\/models$/, methods: ["GET"], name: "models" },
  { path: /^\/v1\/responses\/[A-Za-z0-9_-]{1,128}$/, methods: ["GET", "DELETE"], name: "stored_response" },
  { path: /^\/v1\/responses\/[A-Za-z0-9_-]{1,128}\/input_items$/, methods: ["GET"], name: "stored_response" },
  { path: /^\/v1\/responses\/[A-Za-z0-9_-]{1,128}\/cancel$/, methods: ["POST"], name: "stored_response" },
];

const SHOWN_CHARACTERS_MAX = 128;

/** The route of a request line. Throws Refusal `not_found`, or `method_not_allowed` naming what is allowed. */
export function matchRoute(method: string, url: string): Route {
  const path = url.split("?", 1)[0] ?? "";
  const row = ROWS.find((candidate) => candidate.path.test(path));
  const shown = path.length > SHOWN_CHARACTERS_MAX ? `${path.slice(0, SHOWN_CHARACTERS_MAX)}…` : path;
  if (row === undefined)
    throw new Refusal(
      "not_found",
      `Cannot find the route as it must be one that is served: current value is ${method} ${shown}`,
    );
  if (!row.methods.includes(method))
    throw new Refusal(
      "method_not_allowed",
      `Cannot use the route as its method must be ${row.methods.join(" or ")}: current value is ${method} ${shown}`,
    );
  return { name: row.name, target: url, hasBody: method === "POST" };
}

/** The `allow` header of a path that exists with other methods. */
export function allowedMethods(url: string): string | undefined {
  const path = url.split("?", 1)[0] ?? "";
  return ROWS.find((row) => row.path.test(path))?.methods.join(", ");
}
