import type { Agent as HttpAgent } from "node:http";
import { createMeteredReader, createSeriesMemory, type MeteredScrape, type SeriesMemory } from "#core/exposition.ts";
import type { Clock } from "#runtime/clock.ts";
import { Agent, request } from "#runtime/node-http.ts";

const TIMEOUT_MS = 3_000;
const BODY_CHARS_MAX = 8 * 1024 * 1024;

/** A scrape that gave no counters: a service that is not there (it starts or ends), or text that nobody may bill from. */
export type FailedScrape = { readonly ok: false; readonly kind: "Unreachable" | "Malformed"; readonly problem: string };

/** Scrapes the service of its own pod. Never rejects. */
export interface Scraper {
  scrape(): Promise<Extract<MeteredScrape, { ok: true }> | FailedScrape>;
  close(): void;
}

/** A scraper over one kept-alive connection: no fetch, whose engine alone would cost a third of the memory. */
export function createScraper(url: string, clock: Clock): Scraper {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const memory = createSeriesMemory();
  return {
    async scrape() {
      try {
        const scrape = await readScrape(url, { agent, clock, memory });
        return scrape.ok ? scrape : { ...scrape, kind: "Malformed" };
      } catch (error) {
        return { ok: false, kind: "Unreachable", problem: error instanceof Error ? error.message : String(error) };
      }
    },
    close: () => agent.destroy(),
  };
}

/** Reads the answer as it arrives: a whole scrape in memory would be the largest thing in this process. */
function readScrape(
  url: string,
  options: { readonly agent: HttpAgent; readonly clock: Clock; readonly memory: SeriesMemory },
): Promise<MeteredScrape> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: options.agent, headers: { accept: "text/plain;version=0.0.4" } }, (response) => {
      const reader = createMeteredReader(options.memory);
      let size = 0;
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        size += chunk.length;
        if (size > BODY_CHARS_MAX) sent.destroy(new Error(`The scrape must be at most ${BODY_CHARS_MAX} characters`));
        else reader.feed(chunk);
      });
      response.on("error", reject);
      response.on("end", () => {
        if (!response.complete) reject(new Error("The scrape was cut off"));
        else if (response.statusCode !== 200) reject(new Error(`The scrape answered ${response.statusCode ?? 0}`));
        else resolve(reader.end());
      });
    });
    const cancel = options.clock.after(TIMEOUT_MS, () => sent.destroy(new Error(`No scrape within ${TIMEOUT_MS} ms`)));
    sent.on("close", cancel);
    sent.on("error", reject);
    sent.end();
  });
}
