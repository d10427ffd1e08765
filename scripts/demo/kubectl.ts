import { setTimeout as sleep } from "node:timers/promises";
import { type CommandResult, runCommand, tryCommand } from "../run-command.ts";

export interface Kubectl {
  readonly kubeconfig: string;
  readonly path: string;
  /** Runs kubectl and returns its output; throws CommandError on any other code than 0. */
  run(args: readonly string[], input?: string): Promise<string>;
  /** Runs kubectl and returns the result whatever it is. */
  attempt(args: readonly string[], input?: string): Promise<CommandResult>;
  /** `kubectl get … -o json`, parsed. */
  json(args: readonly string[]): Promise<unknown>;
  /** Applies objects (YAML or JSON) by server-side apply with strict validation. */
  apply(manifest: string, namespace?: string): Promise<void>;
}

/** kubectl bound to one cluster. */
export function createKubectl(options: { readonly path: string; readonly kubeconfig: string }): Kubectl {
  const command = (args: readonly string[]): string[] => [options.path, `--kubeconfig=${options.kubeconfig}`, ...args];
  const run = async (args: readonly string[], input?: string): Promise<string> =>
    (await runCommand(command(args), input === undefined ? {} : { input })).stdout;
  return {
    kubeconfig: options.kubeconfig,
    path: options.path,
    run,
    attempt: (args, input) => tryCommand(command(args), input === undefined ? {} : { input }),
    json: async (args) => JSON.parse(await run([...args, "-o", "json"])),
    async apply(manifest, namespace) {
      const scope = namespace === undefined ? [] : ["-n", namespace];
      await run(["apply", "--server-side", "--force-conflicts", "--validate=strict", ...scope, "-f", "-"], manifest);
    },
  };
}

export interface WaitOptions {
  /** What is waited for, for the message. */
  readonly what: string;
  readonly timeoutSeconds: number;
  /** @default 500 */
  readonly everyMs?: number;
}

/**
 * Polls until `check` returns a value. Throws after the timeout with what was waited for and the last error of `check`.
 */
export async function waitFor<T>(check: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
  const deadline = performance.now() + options.timeoutSeconds * 1000;
  let cause: unknown;
  while (performance.now() < deadline) {
    try {
      const value = await check();
      if (value !== undefined) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(options.everyMs ?? 500);
  }
  throw new Error(`Gave up waiting for ${options.what} after ${options.timeoutSeconds} s`, { cause });
}
