import { Pool } from "undici";
import { API_KEY } from "../../../services/gateway/test-world.ts";
import { ask, type SeenAnswer } from "./client.ts";
import type { PlannedCall } from "./plan.ts";

/** A call and what became of it. */
export interface Driven {
  readonly call: PlannedCall;
  readonly seen: SeenAnswer;
}

export interface DriveOptions {
  readonly url: string;
  /** How many clients ask at once, each one call after the other. */
  readonly clients: number;
  /** Before each call of a client, to hold a rate. */
  readonly pause?: () => Promise<void>;
}

/** Sends all calls; `note` gets each one as it ends. */
export async function drive(
  calls: Iterable<PlannedCall>,
  options: DriveOptions,
  note: (driven: Driven) => void,
): Promise<void> {
  const pool = new Pool(options.url, { connections: options.clients, pipelining: 1 });
  const waiting = calls[Symbol.iterator]();
  const client = async (): Promise<void> => {
    for (let next = waiting.next(); next.done !== true; next = waiting.next()) {
      await options.pause?.();
      const seen = await ask(pool, next.value, { authorization: `Bearer ${API_KEY}` });
      note({ call: next.value, seen });
    }
  };
  try {
    await Promise.all(Array.from({ length: options.clients }, client));
  } finally {
    await pool.destroy();
  }
}
