/**
 * What the gateway costs beside a raw node:http + undici proxy and beside others' gateways, in interleaved rounds of one run on this
 * machine, so that noise meets all of them: `node scripts/bench/gateway.ts [rounds] [seconds] [peer …]`. Tables on stderr, JSON
 * on stdout. Ratios are of one round to the same round. The peers are portkey, litellm and nginx; `none` leaves them out.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type LoadKind, runLoad } from "./gateway/load.ts";
import { longestBlockMs, measure, type MeasureOptions, measureRounds } from "./gateway/measure.ts";
import { PEERS } from "./gateway/peers.ts";
import { createProcesses, rssMiB } from "./gateway/processes.ts";
import { table, toFirstTokenRows, toRows } from "./gateway/report.ts";
import { startModel, startRawProxy } from "./gateway/roles.ts";
import { startSurroundings } from "./gateway/surroundings.ts";
import { startTargets, type Target, type Targets } from "./gateway/targets.ts";

const ROUNDS = 5;
const SECONDS = 3;
const CONNECTIONS = 16;
const STREAMS = 64;
const TENANTS = 1_000;
/** Until compilers have done with a hot path; LiteLLM's slow start included. */
const WARM_UP_SECONDS = 4;

const [role = "", ...args] = process.argv.slice(2);
if (role === "model") startModel();
else if (role === "raw") startRawProxy(args[0] ?? "");
else if (role === "load") console.log(JSON.stringify(await runLoad(JSON.parse(args[0] ?? "{}"))));
else await run({ rounds: Number(role || ROUNDS), seconds: Number(args[0] ?? SECONDS), peers: args.slice(1) });

interface Size {
  readonly rounds: number;
  readonly seconds: number;
  /** All when none is named. */
  readonly peers: readonly string[];
}

async function run(size: Size): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "gateway-bench-"));
  const processes = createProcesses();
  const surroundings = await startSurroundings();
  const apiKeys = Array.from({ length: TENANTS }, () => `sk-${randomBytes(32).toString("base64url")}`);
  try {
    const targets = await startTargets({
      processes,
      folder,
      apiKeys,
      surroundings,
      peersFolder: resolve(".cache/bench/peers"),
      peers: (["portkey", "litellm", "nginx"] as const).filter(
        (name) => size.peers.length === 0 || size.peers.includes(name),
      ),
    });
    console.log(JSON.stringify(await measureAll(targets, apiKeys, size), undefined, 2));
  } finally {
    processes.stop();
    surroundings.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** By target. Asking begins anew. */
async function blocksOf(targets: readonly Target[]): Promise<ReadonlyMap<string, number | undefined>> {
  const blocks = new Map<string, number | undefined>();
  for (const target of targets) blocks.set(target.name, await longestBlockMs(target));
  return blocks;
}

async function measureAll(targets: Targets, apiKeys: readonly string[], size: Size): Promise<Record<string, unknown>> {
  const { direct, raw, gateway, peers } = targets;
  const oneKey = apiKeys.slice(0, 1);
  const rowsOf = async (of: readonly Target[], kind: LoadKind, keys: readonly string[] = oneKey): Promise<object[]> => {
    const options: MeasureOptions = { kind, seconds: size.seconds, connections: CONNECTIONS, apiKeys: keys };
    for (const target of of) await measure(target, { ...options, seconds: WARM_UP_SECONDS });
    await blocksOf(of);
    const samples = await measureRounds(of, size.rounds, options);
    const rows = toRows(samples, await blocksOf(of));
    console.error(table(keys === oneKey ? kind : `${kind}, ${TENANTS} tenants`, rows));
    return rows;
  };
  const all = [raw, gateway, ...peers];
  const json = await rowsOf(all, "json");
  const stream = await rowsOf(all, "stream");
  const burst = await rowsOf([raw, gateway], "burst");
  const tenants = await rowsOf([raw, gateway], "json", apiKeys);
  const variants = await rowsOf([raw, gateway, ...targets.variants], "json");
  const prompt16KB = await rowsOf([raw, gateway], "json 16 KB");
  const prompt132KB = await rowsOf([raw, gateway], "json 132 KB");
  const paced = { kind: "paced", seconds: size.seconds, connections: STREAMS, apiKeys: oneKey } as const;
  const firstToken = toFirstTokenRows(await measureRounds([direct, ...all], size.rounds, paced));
  console.error(table(`First token of ${STREAMS} paced streams`, firstToken));
  return {
    rounds: size.rounds,
    secondsOfARound: size.seconds,
    connections: CONNECTIONS,
    peers: PEERS,
    absent: targets.absent,
    loadAverage: loadavg()[0],
    rssMiB: Object.fromEntries(all.map(({ name, pid, hasWorkers }) => [name, rssMiB(pid, hasWorkers)])),
    json,
    stream,
    burst,
    tenants,
    variants,
    prompt16KB,
    prompt132KB,
    firstToken,
  };
}
