import { Agent, request } from "node:http";
import { readMetered, type MeteredScrape } from "#core/exposition.ts";
import type { Clock } from "#runtime/clock.ts";

const TIMEOUT_MS = 3_000;
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** Scrapes the service of its own pod. Never rejects: a failed scrape is a refused one. */
export interface Scraper {
  scrape(): Promise<MeteredScrape>;
  close(): void;
}

/** A scraper over one kept-alive connection: no fetch, whose engine alone would cost a third of the memory. */
export function createScraper(url: string, clock: Clock): Scraper {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    async scrape() {
      try {
        return readMetered(await readText(url, { agent, clock }));
      } catch (error) {
        return { ok: false, problem: error instanceof Error ? error.message : String(error) };
      }
    },
    close: () => agent.destroy(),
  };
}

function readText(url: string, options: { readonly agent: Agent; readonly clock: Clock }): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { agent: options.agent, headers: { accept: "text/plain;version=0.0.4" } },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > BODY_BYTES_MAX) sent.destroy(new Error(`The scrape must be at most ${BODY_BYTES_MAX} bytes`));
          else chunks.push(chunk);
        });
        response.on("error", reject);
        response.on("end", () => {
          if (!response.complete) reject(new Error("The scrape was cut off"));
          else if (response.statusCode !== 200) reject(new Error(`The scrape answered ${response.statusCode ?? 0}`));
          else resolve(Buffer.concat(chunks, size).toString("utf8"));
        });
      },
    );
    const cancel = options.clock.after(TIMEOUT_MS, () => sent.destroy(new Error(`No scrape within ${TIMEOUT_MS} ms`)));
    sent.on("close", cancel);
    sent.on("error", reject);
    sent.end();
  });
}
