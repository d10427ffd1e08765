/**
 * The probes of a gateway, asked of ours and of Portkey's in one harness: `npm run bench -- probes [ours|portkey …]`. Prints what
 * each did; facts, no measurement of speed.
 */
import { startPortkey } from "../../test/probes/portkey.ts";
import type { Facts } from "../../test/probes/probe.ts";
import { probes, runProbe } from "../../test/probes/table.ts";
import { startOurs, type StartTarget } from "../../test/probes/target.ts";
import { table } from "./gateway/report.ts";

const MIXED_REQUESTS = 10_000;
const GATEWAYS: Readonly<Record<string, StartTarget>> = { ours: startOurs, portkey: startPortkey };

interface Answer {
  readonly isRight: boolean;
  readonly facts: Facts;
}

interface Line {
  readonly probe: string;
  readonly right: string;
  readonly answers: Readonly<Record<string, Answer>>;
}

/** One line for each probe; all gateways when none is named. */
export async function benchProbes(names: readonly string[]): Promise<readonly Line[]> {
  const asked = Object.entries(GATEWAYS).filter(([name]) => names.length === 0 || names.includes(name));
  const lines: Line[] = [];
  for (const probe of probes(MIXED_REQUESTS)) {
    const answers: Record<string, Answer> = {};
    for (const [name, start] of asked) answers[name] = await runProbe(probe, start);
    lines.push({ probe: probe.name, right: probe.right, answers });
    console.error(`Probed ${probe.name}`);
  }
  const rows = lines.map(({ probe, right, answers }) => ({
    probe,
    right,
    ...Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, toText(answer)])),
  }));
  console.error(table("Probes", rows));
  return lines;
}

function toText({ isRight, facts }: Answer): string {
  const told = Object.entries(facts).map(([name, value]) => `${name} ${value}`);
  return `${isRight ? "right" : "not so"}: ${told.join("; ")}`;
}
