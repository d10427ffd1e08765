import { spawn } from "node:child_process";
import { mkdirSync, openSync, closeSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Set in the environment of everything that is started, so that a process id is never mistaken for another's. */
const MARK = "SUPERCARGO_CLUSTER";

export interface ProcessOptions {
  /** Names the log and the pid file. */
  readonly name: string;
  readonly command: readonly string[];
  /** Holds NAME.pid. */
  readonly stateFolder: string;
  /** Holds NAME.log. */
  readonly logFolder: string;
  /** A network namespace of /run/netns; else the machine's own. */
  readonly network?: string;
  /** Killed by the kernel when the process that called this ends. @default false */
  readonly diesWithParent?: boolean;
  /** Runs before others when processors are short. @default false */
  readonly favoured?: boolean;
}

/** In the place of the shell that becomes the program. What the machine does not allow is left out without a word. */
const FAVOUR = "{ echo -10 >/proc/self/autogroup; renice -n -10 -p $$; } >/dev/null 2>&1;";

/**
 * Starts a process that outlives this one unless told otherwise. It writes its own pid file before it becomes the
 * program, so there is no moment in which it runs and no file names it.
 */
export function startProcess(options: ProcessOptions): void {
  mkdirSync(options.stateFolder, { recursive: true });
  mkdirSync(options.logFolder, { recursive: true });
  const log = openSync(join(options.logFolder, `${options.name}.log`), "a");
  const enter = options.network === undefined ? [] : ["nsenter", `--net=/run/netns/${options.network}`];
  const tie = options.diesWithParent === true ? ["setpriv", "--pdeathsig", "KILL"] : [];
  const [program = "", ...args] = [
    ...tie,
    "sh",
    "-c",
    `${options.favoured === true ? FAVOUR : ""} echo $$ > "$0" && exec "$@"`,
    pidFile(options.stateFolder, options.name),
    ...enter,
    ...options.command,
  ];
  const child = spawn(program, args, {
    detached: options.diesWithParent !== true,
    stdio: ["ignore", log, log],
    env: { ...process.env, [MARK]: options.stateFolder },
  });
  child.on("error", () => undefined);
  child.unref();
  closeSync(log);
}

/** The process id of NAME while it runs, and is one that was started here. */
export function runningProcess(stateFolder: string, name: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile(stateFolder, name), "utf8"));
    return isMarked(pid, stateFolder) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a process, or the one it stems from, was started here for that state folder. */
export function isMarked(pid: number, stateFolder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`${MARK}=${stateFolder}`);
  } catch {
    return false;
  }
}

/** Ends NAME at once and waits until it is gone. Nothing here has state that a SIGKILL could spoil. */
export async function killProcess(stateFolder: string, name: string): Promise<void> {
  const pid = runningProcess(stateFolder, name);
  if (pid !== undefined) await killAll([pid]);
  rmSync(pidFile(stateFolder, name), { force: true });
}

/** Sends SIGKILL and waits until all are gone, 10 s at most. */
export async function killAll(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Already gone.
    }
  }
  for (let waited = 0; waited < 200 && pids.some(isAlive); waited += 1) await sleep(50);
}

/** A zombie is gone as far as its files and ports are concerned. */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

function pidFile(stateFolder: string, name: string): string {
  return join(stateFolder, `${name}.pid`);
}
