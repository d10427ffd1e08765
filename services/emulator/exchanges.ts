const EXCHANGES_MAX = 100;
const TEXT_MAX = 32 * 1024;

/** A request to the metering API and its answer, for people who look what their agent does. Never a token. */
export interface Exchange {
  /** Instant of the emulator's clock. */
  readonly at: string;
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly requestId: string;
  /** Whose token it was, if it was good. */
  readonly callerClientId: string | undefined;
  /** JSON, or the text of what is none; nothing when a fault came first. */
  readonly request: unknown;
  /** 0: the connection was closed without an answer. */
  readonly status: number;
  /** Why the token was refused. */
  readonly reason: string | undefined;
  readonly answer: unknown;
}

/** The last 100, each of at most 64 KiB: longer bodies are cut and become text. */
export interface Exchanges {
  add(exchange: Exchange): void;
  list(): readonly Exchange[];
  clear(): void;
}

export function createExchanges(): Exchanges {
  let kept: readonly Exchange[] = [];
  return {
    add(exchange) {
      const { request, answer } = exchange;
      kept = [...kept, { ...exchange, request: shorten(request), answer: shorten(answer) }].slice(-EXCHANGES_MAX);
    },
    list: () => kept,
    clear() {
      kept = [];
    },
  };
}

function shorten(body: unknown): unknown {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return text === undefined || text.length <= TEXT_MAX ? body : `${text.slice(0, TEXT_MAX)}… (cut)`;
}
