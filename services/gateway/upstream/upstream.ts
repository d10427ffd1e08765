import { type Dispatcher, Pool } from "undici";

/** Connection pools, one per deployment (and one for the orchestrator), kept over changes of configuration. */
export interface Upstreams {
  pool(key: string, origin: string): Dispatcher;
  /** Closes, when their requests have ended, the pools that no key names any more. */
  retain(keys: ReadonlySet<string>): void;
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 256;
const CONNECT_TIMEOUT_MS = 5_000;
/** An upstream's own hint (`keep-alive: timeout=…`) shortens this. */
const IDLE_CONNECTION_MS = 30_000;
/** A connection older than this is replaced, so that a change in DNS is seen. */
const CONNECTION_LIFE_MS = 5 * 60_000;

export function createUpstreams(): Upstreams {
  const pools = new Map<string, Pool>();
  return {
    pool(key, origin) {
      const id = poolId(key, origin);
      const known = pools.get(id);
      if (known) return known;
      const pool = new Pool(origin, {
        connections: CONNECTIONS_MAX,
        pipelining: 1,
        allowH2: false,
        // Streams have an idle timer of their own, and the time to the first byte is set per request.
        bodyTimeout: 0,
        connectTimeout: CONNECT_TIMEOUT_MS,
        keepAliveTimeout: IDLE_CONNECTION_MS,
        // Without it a longer hint of the upstream's would count.
        keepAliveMaxTimeout: IDLE_CONNECTION_MS,
        clientTtl: CONNECTION_LIFE_MS,
      });
      pools.set(id, pool);
      return pool;
    },
    retain(keys) {
      for (const [id, pool] of pools) {
        if (keys.has(id)) continue;
        pools.delete(id);
        void pool.close();
      }
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
      pools.clear();
    },
  };
}

/** The name under which a pool is kept: another origin is another pool. */
export function poolId(key: string, origin: string): string {
  return `${key} ${origin}`;
}

/** The key of a guardrail's pool; no alias has a blank in it. */
export function guardrailPoolKey(name: string): string {
  return `guardrail ${name}`;
}
