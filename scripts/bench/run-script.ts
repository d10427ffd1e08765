import { spawn } from "node:child_process";

/** Runs one part of a bench in a process of its own; its last line. Throws with the exit code. */
export async function runScript(
  script: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Promise<string> {
  const child = spawn(process.execPath, [...flags, script, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (chunk: string) => (text += chunk));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`Cannot bench as ${script} must end with 0: current value is ${code}`);
  return script.endsWith("gateway.ts") ? text : (text.trim().split("\n").at(-1) ?? "");
}
