import { parseArgs } from "node:util";
import { fuzzGateway } from "../../test/gateway/fuzz/fuzz.ts";
import { countStreams } from "../../test/gateway/traffic/count.ts";
import { soakGateway } from "../../test/gateway/traffic/soak.ts";

/** Whatever these find wrong stands in `problems`, with the seed that finds it again. */
export interface TrafficResult {
  readonly problems: readonly string[];
}

const STREAMS = 10_000;

/** `gateway-count [--streams N] [--seed N]`: counted tokens beside what the emulator's model sent. */
export async function gatewayCount(args: readonly string[]): Promise<TrafficResult> {
  const { streams, seed } = readNumbers(args, { streams: STREAMS, seed: someSeed() });
  return await countStreams({ streams, seed });
}

/** `gateway-fuzz [--minutes N] [--seed N] [--area NAME] [--path PATH]`: what strangers may write, until the time is over. */
export async function gatewayFuzz(args: readonly string[]): Promise<TrafficResult> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ args: [...args], options: { minutes: text, seed: text, area: text, path: text } });
  const { area, path, ...rest } = values;
  const { minutes, seed } = toNumbers(rest, { minutes: 1, seed: someSeed() });
  return await fuzzGateway({ minutes, seed, area, path });
}

/** `gateway-soak [--minutes N] [--streams N] [--seed N]`: what is left after half load for long, or after so many streams. */
export async function gatewaySoak(args: readonly string[]): Promise<TrafficResult> {
  const { minutes, streams, seed } = readNumbers(args, { minutes: 30, streams: 0, seed: someSeed() });
  return await soakGateway({ seed, ...(streams > 0 ? { streams } : { minutes }) });
}

/** A whole number of each name; the given one where an argument is absent. Throws for anything else. */
function readNumbers<K extends string>(
  args: readonly string[],
  defaults: Readonly<Record<K, number>>,
): Record<K, number> {
  const options = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: "string" as const }]));
  return toNumbers(parseArgs({ args: [...args], options }).values, defaults);
}

function toNumbers<K extends string>(
  values: Readonly<Record<string, string | undefined>>,
  defaults: Readonly<Record<K, number>>,
): Record<K, number> {
  const read: Record<K, number> = { ...defaults };
  for (const name in defaults) {
    const value = Number(values[name] ?? defaults[name]);
    if (!Number.isSafeInteger(value) || value < 0)
      throw new Error(`Cannot bench as --${name} must be a whole number: current value is ${values[name]}`);
    read[name] = value;
  }
  return read;
}

function someSeed(): number {
  return Math.floor(Math.random() * 2 ** 31);
}
