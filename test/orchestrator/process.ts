import { type ChildProcess, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";

/** Lets a test kill the process at a mark; does nothing without KILL_AT. */
const killAt = new URL("./kill-at.ts", import.meta.url).href;

/** Starts the real entry on the files of a directory. */
export function spawnOrchestrator(
  directory: string,
  environment: Readonly<Record<string, string>>,
  log: string[],
): ChildProcess {
  const child = spawn(process.execPath, ["--import", killAt, "services/orchestrator/main.ts"], {
    env: {
      PATH: process.env["PATH"],
      NODE_COMPILE_CACHE: join(tmpdir(), "supercargo-compile-cache"),
      SUPERCARGO_CONFIG_FILE: join(directory, "config.json"),
      SUPERCARGO_CONTROL_FILE: join(directory, "control.json"),
      SUPERCARGO_COUNTER_FILE: join(directory, "counters"),
      SUPERCARGO_JOURNAL_FILE: join(directory, "journal", "journal.db"),
      SUPERCARGO_SERVICE_TOKEN_FILE: join(directory, "token"),
      SUPERCARGO_PORT: "0",
      SUPERCARGO_ADMIN_PORT: "0",
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stderr?.on("data", (chunk: Buffer) => log.push(chunk.toString()));
  return child;
}

const startedSchema = z.object({ msg: z.literal("Started"), port: z.number(), adminPort: z.number() });

/** Resolves with the ports that the process logs when it has started. */
export function readPorts(child: ChildProcess, log: string[]): Promise<{ port: number; adminPort: number }> {
  return new Promise((resolve, reject) => {
    child.once("exit", (code) =>
      reject(new Error(`The orchestrator ended with ${code}: ${log.slice(-20).join("\n")}`)),
    );
    if (!child.stdout) return;
    createInterface({ input: child.stdout }).on("line", (line) => {
      log.push(line);
      const started = startedSchema.safeParse(parseJson(line));
      if (started.success) resolve(started.data);
    });
  });
}

/** JSON, or nothing. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
