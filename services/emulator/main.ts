import { ConfigError } from "#runtime/config.ts";
import { createLogger } from "#runtime/log.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { startEmulator } from "./app.ts";
import { readConfig } from "./config.ts";

const STOP_DEADLINE_MS = 5_000;

try {
  const config = readConfig(process.env);
  const log = createLogger({ component: "emulator", level: config.logLevel });
  const emulator = await startEmulator({ ...config.options, log });
  const { url, controlUrl, imdsUrl, tlsUrl } = emulator;
  log.info({ url, controlUrl, imdsUrl, tlsUrl }, "Started emulator");
  stopOnSignal(log, [{ name: "servers", stop: () => emulator.stop(STOP_DEADLINE_MS) }]);
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
