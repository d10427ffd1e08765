import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";

/** What is asked: a JSON answer, with prompts of three sizes; a stream in segments, in one segment, or at a model's pace. */
export type LoadKind = "json" | "json 16 KB" | "json 132 KB" | "stream" | "burst" | "paced";

export interface LoadOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** One after the other; a single one for targets that know one key. */
  readonly apiKeys: readonly string[];
  readonly connections: number;
  readonly durationMs: number;
  readonly kind: LoadKind;
}

export interface LoadResult {
  readonly requests: number;
  readonly failures: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Until the first byte of the body. */
  readonly firstP50Ms: number;
  readonly firstP99Ms: number;
}

const PROMPT = "a prompt of about one kilobyte ";
const PROMPTS: Readonly<Record<LoadKind, number>> = {
  json: 32,
  "json 16 KB": 528,
  "json 132 KB": 4360,
  stream: 32,
  burst: 32,
  paced: 32,
};
/** About as long as a paced stream takes. */
const STREAM_MS = 550;
/** Shorter than any right answer. */
const ANSWER_BYTES_MIN = 500;

/** Sends one request after the other on each connection for a while, in a process of its own. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const pool = new Pool(options.url, { connections: options.connections, pipelining: 1 });
  const { kind } = options;
  const body = JSON.stringify({
    model: "bench",
    messages: [{ role: "user", content: PROMPT.repeat(PROMPTS[kind]) }],
    ...(kind.startsWith("json") ? {} : { stream: true, user: kind }),
  });
  const times: number[] = [];
  const firsts: number[] = [];
  let sent = 0;
  let failures = 0;
  const untilMs = performance.now() + options.durationMs;
  const worker = async (_: unknown, index: number): Promise<void> => {
    // Paced streams that all begin at once would also all end at once, and meet in the load generator.
    if (kind === "paced") await sleep((STREAM_MS * index) / options.connections);
    while (performance.now() < untilMs) {
      const authorization = `Bearer ${options.apiKeys[sent++ % options.apiKeys.length]}`;
      const headers = { "content-type": "application/json", ...options.headers, authorization };
      const answer = await ask(pool, headers, body);
      if (answer.status !== 200 || answer.bytes < ANSWER_BYTES_MIN) failures += 1;
      else {
        times.push(answer.totalMs);
        firsts.push(answer.firstMs);
      }
    }
  };
  await Promise.all(Array.from({ length: options.connections }).map(worker));
  await pool.destroy();
  const at = percentiles(times);
  const firstAt = percentiles(firsts);
  return {
    requests: times.length,
    failures,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    firstP50Ms: firstAt(0.5),
    firstP99Ms: firstAt(0.99),
  };
}

interface Answer {
  status: number;
  bytes: number;
  firstMs: number;
  totalMs: number;
}

function ask(pool: Pool, headers: Record<string, string>, body: string): Promise<Answer> {
  const startMs = performance.now();
  const answer: Answer = { status: 0, bytes: 0, firstMs: 0, totalMs: 0 };
  return new Promise((resolve) => {
    pool.dispatch(
      { method: "POST", path: "/v1/chat/completions", headers, body },
      {
        onRequestStart: () => {},
        onResponseStart: (_, status) => void (answer.status = status),
        onResponseData: (_, chunk) => {
          if (answer.bytes === 0) answer.firstMs = performance.now() - startMs;
          answer.bytes += chunk.length;
        },
        onResponseEnd: () => {
          answer.totalMs = performance.now() - startMs;
          resolve(answer);
        },
        onResponseError: () => resolve({ ...answer, status: 0 }),
      },
    );
  });
}

function percentiles(values: number[]): (share: number) => number {
  values.sort((a, b) => a - b);
  return (share) => Number((values[Math.floor(values.length * share)] ?? 0).toFixed(3));
}
