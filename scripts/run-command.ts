import { spawn } from "node:child_process";

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Shows the output as it comes instead of keeping it. @default false */
  readonly inherit?: boolean;
  /** @default 600000 */
  readonly timeoutMs?: number;
}

/** A command that ended with another code than 0. */
export class CommandError extends Error {
  readonly result: CommandResult;
  constructor(command: readonly string[], result: CommandResult) {
    const output = `${result.stderr}${result.stdout}`.trim().split("\n").slice(-20).join("\n");
    super(`${command.slice(0, 4).join(" ")} ended with code ${result.code}\n${output}`);
    this.name = "CommandError";
    this.result = result;
  }
}

/** Runs a command to its end. Throws CommandError unless it ends with 0. */
export async function runCommand(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const result = await tryCommand(command, options);
  if (result.code !== 0) throw new CommandError(command, result);
  return result;
}

/** Runs a command to its end and returns the code, whatever it is. */
export function tryCommand(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...options.env },
      stdio: [
        options.input === undefined ? "ignore" : "pipe",
        options.inherit ? "inherit" : "pipe",
        options.inherit ? "inherit" : "pipe",
      ],
      // Not spawn's own timeout, whose timer stays for its whole time when the program is missing.
      signal: AbortSignal.timeout(options.timeoutMs ?? 600_000),
    });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", (error) => reject(new Error(`Cannot run ${program}`, { cause: error })));
    child.on("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
    child.stdin?.end(options.input);
  });
}
