import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, it } from "vitest";

const SERIES = 5000;
/** 75 % of the container's limit of 128Mi, as NODE_OPTIONS sets it there. */
const HEAP_MIB = 96;
let server: Server;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sidecar-memory-"));
  const series = Array.from(
    { length: SERIES },
    (_, n) => `http_request_duration_seconds_bucket{route="/v1/responses/${n % 50}",le="${n}"} ${n * 1000}`,
  );
  let count = 0;
  server = createServer((_request, response) => {
    count += 1;
    response.end(
      `metering_epoch_info{epoch="e"} 1\nsupercargo_usage_total{dimension="tool_action"} ${count}\n${series.join("\n")}\n`,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

it(`the sidecar holds less than 64 MiB after 200 scrapes of ${SERIES} series`, async () => {
  const file = join(folder, "sidecar-load.mjs");
  const bundle = await rolldown({ input: "test/simulation/sidecar-load.ts", platform: "node" });
  await bundle.write({ file, format: "esm", codeSplitting: false });
  await bundle.close();
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const { stdout } = await promisify(execFile)(process.execPath, [
    `--max-old-space-size=${HEAP_MIB}`,
    file,
    `http://127.0.0.1:${port}/metrics`,
  ]);
  const { rssMiB, total } = JSON.parse(stdout);
  expect(total).toBe("200");
  expect(rssMiB).toBeLessThan(64);
}, 60_000);
