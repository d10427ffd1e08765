import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { runScript } from "./run-script.ts";

/** One figure; the bar is what issue and docs/metering.md ask for. */
interface Row {
  readonly what: string;
  readonly value: string;
  readonly bar?: string;
  readonly met?: boolean;
}

const FOLDER = "scripts/bench/metering";
/** 75 % of the reporter's memory limit of 256Mi, as NODE_OPTIONS sets it there. */
const REPORTER_HEAP = "--max-old-space-size=192";
const FLEETS = [
  { pods: 1000, table: "17 writes/s" },
  { pods: 10_000, table: "20 writes/s at K = 500 s" },
];

const benches: Record<string, () => Promise<Row[]>> = {
  parser: benchParser,
  reporter: benchReporter,
  sidecar: benchSidecar,
  writes: benchWrites,
};

/** The parts of this bench, in their order. */
export const PARTS: readonly string[] = Object.keys(benches);

/** Runs parts one after the other and prints each one's figures when it has them. */
export async function benchMetering(parts: readonly string[]): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const part of parts) {
    const bench = benches[part];
    if (!bench) throw new Error(`Cannot bench as a part must be ${PARTS.join(", ")}: current value is ${part}`);
    const found = await bench();
    for (const row of found) console.log(toLine(row));
    rows.push(...found);
  }
  return rows;
}

function toLine({ what, value, bar, met }: Row): string {
  const verdict = met === undefined ? "" : met ? "met" : "MISSED";
  return `| ${what} | ${value} | ${bar ?? ""} | ${verdict} |`;
}

function atMost(what: string, value: number, bar: { readonly limit: number; readonly unit: string }): Row {
  return {
    what,
    value: `${value.toFixed(1)} ${bar.unit}`,
    bar: `<= ${bar.limit} ${bar.unit}`,
    met: value <= bar.limit,
  };
}

async function benchParser(): Promise<Row[]> {
  const { perSecond } = JSON.parse(await runScript(`${FOLDER}/parser.ts`, []));
  return Object.entries<number>(perSecond).map(([what, value], index) => ({
    what: `parser, 5,000 series: ${what}`,
    value: `${(value / 1_000_000).toFixed(2)} M samples/s`,
    ...(index === 0 ? { bar: ">= 1 M samples/s", met: value >= 1_000_000 } : {}),
  }));
}

async function benchReporter(): Promise<Row[]> {
  const stub = spawn(process.execPath, [`${FOLDER}/stub-api.ts`, "10000"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const port = await readPort(stub.stdout);
    const args = [`http://127.0.0.1:${port}`];
    const read = JSON.parse(await runScript(`${FOLDER}/reporter.ts`, args, [REPORTER_HEAP]));
    const what = "reporter, one hour of 10,000 pods x 10 dimensions";
    return [
      atMost(`${what}: CPU of the whole cycle`, read.closing.cpuSeconds, { limit: 5, unit: "s" }),
      atMost(`${what}: peak RSS of the process`, read.peakRssMiB, { limit: 250, unit: "MiB" }),
      atMost(`${what}: longest block of the loop`, read.closing.longestBlockCpuMs, { limit: 100, unit: "ms of CPU" }),
      { what: `${what}: listed`, value: `${read.listedMiB.toFixed(0)} MiB of JSON` },
    ];
  } finally {
    stub.kill("SIGKILL");
  }
}

async function readPort(output: NodeJS.ReadableStream): Promise<number> {
  for await (const line of createInterface({ input: output })) return Number(JSON.parse(line).port);
  throw new Error("Cannot bench as the stub of the API server ended");
}

async function benchSidecar(): Promise<Row[]> {
  const read = JSON.parse(await runScript(`${FOLDER}/sidecar.ts`, []));
  const { forbidden, packages, kB } = read.bundle;
  return [
    atMost("sidecar, RSS after 200 scrapes of 5,000 series", read.rssMiB, { limit: 64, unit: "MiB" }),
    atMost("sidecar at rest, 300 series: CPU", read.restMillicores, { limit: 3, unit: "millicores" }),
    atMost("sidecar at rest, 5,000 series: CPU", read.restManyMillicores, { limit: 3, unit: "millicores" }),
    { what: "sidecar at rest, 300 series: RSS", value: `${read.restRssMiB.toFixed(1)} MiB` },
    {
      what: "sidecar's bundle: packages",
      value: `${packages.join(", ")}; ${kB} kB`,
      bar: "no Koa, fetch, Azure or Kubernetes client",
      met: forbidden.length === 0,
    },
  ];
}

async function benchWrites(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const fleet of FLEETS) {
    const read = JSON.parse(await runScript(`${FOLDER}/writes.ts`, [String(fleet.pods), "60"]));
    const what = `API server, ${fleet.pods} busy pods, K = ${read.checkpointSeconds} s`;
    rows.push(
      { what: `${what}: writes`, value: `${read.writesPerSecond.toFixed(1)} /s`, bar: fleet.table },
      { what: `${what}: most in 5 s, as an hour turns`, value: `${read.peakWritesPerSecond.toFixed(1)} /s` },
      {
        what: `${what}: sent`,
        value: `${read.kBPerSecond.toFixed(0)} kB/s, ${(read.bytesPerWrite / 1000).toFixed(1)} kB each`,
      },
      { what: `${what}: growth of etcd's file`, value: `${(read.dbBytesPerWrite / 1000).toFixed(1)} kB a write` },
      { what: `${what}: list of all`, value: `${read.listedMB.toFixed(1)} MB` },
    );
  }
  return rows;
}
