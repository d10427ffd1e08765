/**
 * The probes of a gateway, asked of ours and of Portkey's in one harness: `npm run bench -- probes [ours|portkey …]`. Prints what
 * each did; facts, no measurement of speed.
 */
import { startPortkey } from "../../test/probes/portkey.ts";
import type { Facts, Verdict } from "../../test/probes/probe.ts";
import { PROBES, runProbe } from "../../test/probes/table.ts";
import { startOurs, type StartTarget } from "../../test/probes/target.ts";
import { mixedStreams, realClients } from "../../test/probes/wide-probes.ts";
import { table } from "./gateway/report.ts";

const GATEWAYS: Readonly<Record<string, StartTarget>> = { ours: startOurs, portkey: startPortkey };

interface Answer {
  readonly verdict: Verdict;
  readonly facts: Facts;
}

/** One line of the table: what each gateway did. */
interface Line {
  readonly probe: string;
  readonly right: string;
  readonly answers: Readonly<Record<string, Answer>>;
}

/** One line for each probe; all gateways when none is named. Throws for a name that is none. */
export async function benchProbes(names: readonly string[]): Promise<readonly Line[]> {
  const unknown = names.find((name) => !(name in GATEWAYS));
  if (unknown !== undefined)
    throw new Error(
      `Cannot probe as a gateway must be ${Object.keys(GATEWAYS).join(" or ")}: current value is ${unknown}`,
    );
  const asked = Object.entries(GATEWAYS).filter(([name]) => names.length === 0 || names.includes(name));
  const lines: Line[] = [];
  for (const probe of [...PROBES, mixedStreams, realClients]) {
    const answers: Record<string, Answer> = {};
    for (const [name, start] of asked) answers[name] = await runProbe(probe, start);
    lines.push({ probe: probe.name, right: probe.right, answers });
    console.error(`Probed ${probe.name}`);
  }
  console.error(table("Probes", lines.map(toRow)));
  return lines;
}

function toRow({ probe, right, answers }: Line): Record<string, string> {
  const told = Object.entries(answers).map(([name, { verdict, facts }]) => [name, `${verdict}: ${toText(facts)}`]);
  return { probe, right, ...Object.fromEntries(told) };
}

function toText(facts: Facts): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name} ${value}`)
    .join("; ");
}
