import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { LoadKind, LoadOptions, LoadResult } from "./load.ts";
import { cpuMicros } from "./processes.ts";
import type { Target } from "./targets.ts";

export interface Sample {
  readonly target: string;
  readonly cpuMicrosPerRequest: number;
  readonly load: LoadResult;
}

export interface MeasureOptions {
  readonly kind: LoadKind;
  readonly seconds: number;
  readonly connections: number;
  readonly apiKeys: readonly string[];
}

const ENTRY = fileURLToPath(new URL("../gateway.ts", import.meta.url));
/** A peer may refuse a request now and then; more than these are no measurement. */
const FAILURES_SHARE_MAX = 0.01;

/** Loads a target for a while and divides what it used by what it answered. Throws when answers failed. */
export async function measure(target: Target, options: MeasureOptions): Promise<Sample> {
  const load: LoadOptions = {
    url: target.url,
    headers: target.headers,
    apiKeys: target.token === undefined ? options.apiKeys : [target.token],
    connections: options.connections,
    durationMs: options.seconds * 1000,
    kind: options.kind,
  };
  const before = cpuMicros(target.pid, target.hasWorkers);
  const result = await runInChild(load);
  const used = cpuMicros(target.pid, target.hasWorkers) - before;
  if (result.requests === 0 || result.failures > result.requests * FAILURES_SHARE_MAX)
    throw new Error(
      `Cannot measure ${target.name} with ${options.kind} as its answers must succeed: ${JSON.stringify(result)}`,
    );
  return { target: target.name, cpuMicrosPerRequest: Math.round(used / result.requests), load: result };
}

async function runInChild(load: LoadOptions): Promise<LoadResult> {
  const child = spawn(process.execPath, [ENTRY, "load", JSON.stringify(load)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  return JSON.parse(text);
}

/**
 * The longest time for which a gateway's event loop did not turn since it was asked last, in milliseconds; nothing for others. Node
 * samples it every 10 ms, which are taken off, and on a busy machine it holds what others took as well.
 */
export async function longestBlockMs({ adminUrl }: Target): Promise<number | undefined> {
  if (adminUrl === undefined) return undefined;
  const answer = await fetch(`${adminUrl}/metrics`);
  const seconds = /^nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(await answer.text())?.[1];
  return seconds === undefined ? undefined : Math.max(0, Math.round(Number(seconds) * 1000 - SAMPLE_MS));
}

const SAMPLE_MS = 10;

/** Rounds of all targets one after the other, so that noise meets each of them. */
export async function measureRounds(
  targets: readonly Target[],
  rounds: number,
  options: MeasureOptions,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (let round = 0; round < rounds; round += 1)
    for (const target of targets) samples.push(await measure(target, options));
  return samples;
}
