import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { waitFor } from "../../scripts/demo/kubectl.ts";
import { DEMO } from "../../scripts/demo/names.ts";
import { openWorld, patchAgent, type World } from "./world.ts";

/** How long a condition may lag behind what an outside observer sees. */
const TOLERANCE_MS = 5_000;
const OBSERVER = "observer";

/** Asks the agent once a second, as a client in the cluster would, and prints what came of it. */
const OBSERVER_SCRIPT = `
const ask = async () => {
  const at = Date.now();
  let status = 0;
  try {
    const response = await fetch(process.env.URL, {
      method: "POST",
      headers: { authorization: "Bearer " + process.env.KEY, "content-type": "application/json", connection: "close" },
      body: JSON.stringify({ model: "${DEMO.agent}", input: "[[say ok]]" }),
      signal: AbortSignal.timeout(3000),
    });
    status = response.status;
    await response.text();
  } catch {}
  console.log(JSON.stringify({ at, status }));
};
process.on("SIGTERM", () => process.exit(0));
setInterval(ask, 1000);
`;

const askedSchema = z.object({ at: z.number(), status: z.number() });
type Asked = z.infer<typeof askedSchema>;
interface Seen {
  readonly at: number;
  readonly conditions: Readonly<Record<string, string>>;
}

const agentSchema = z.object({
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })) }),
});

let world: World;

beforeAll(async () => {
  world = await openWorld();
  await patch({ spec: { exposure: { allowedNamespaces: [OBSERVER] } } });
  await startObserver();
});

afterAll(async () => {
  await world?.kubectl.attempt(["delete", "namespace", OBSERVER, "--wait=false"]);
  world?.close();
});

function patch(change: unknown): Promise<void> {
  return patchAgent(world.kubectl, change);
}

async function startObserver(): Promise<void> {
  const url = `http://${DEMO.agent}-gateway.${DEMO.agentNamespace}.svc.cluster.local:8080/v1/responses`;
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: OBSERVER } },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: OBSERVER, namespace: OBSERVER } },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: OBSERVER, namespace: OBSERVER },
      spec: {
        serviceAccountName: OBSERVER,
        automountServiceAccountToken: false,
        containers: [
          {
            name: OBSERVER,
            image: world.images.emulator.reference,
            args: ["-e", OBSERVER_SCRIPT],
            env: [
              { name: "URL", value: url },
              { name: "KEY", value: world.apiKey },
            ],
          },
        ],
      },
    },
  ];
  for (const object of objects) await world.kubectl.apply(JSON.stringify(object));
  await world.kubectl.run(["-n", OBSERVER, "wait", "--for=condition=Ready", `pod/${OBSERVER}`, "--timeout=90s"]);
  await waitFor(async () => ((await asked()).some(({ status }) => status === 200) ? true : undefined), {
    what: "the observer's first answer",
    timeoutSeconds: 60,
  });
}

async function asked(): Promise<Asked[]> {
  const log = await world.kubectl.run(["-n", OBSERVER, "logs", OBSERVER]);
  return log
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => askedSchema.parse(JSON.parse(line)));
}

async function look(): Promise<Seen> {
  const agent = agentSchema.parse(await world.kubectl.json(["-n", DEMO.agentNamespace, "get", "agd", DEMO.agent]));
  const conditions = Object.fromEntries(agent.status.conditions.map(({ type, status }) => [type, status]));
  return { at: Date.now(), conditions };
}

/** What people and accidents do to an agent, each with time to take effect. */
const EVENTS: readonly (readonly [what: string, run: () => Promise<void>])[] = [
  ["a rollout", () => patch({ spec: { gateway: { podAnnotations: { "example.com/round": "1" } } } })],
  [
    "a rollout of the one orchestrator",
    () => patch({ spec: { orchestrator: { podAnnotations: { "example.com/round": "1" } } } }),
  ],
  ["a pause", () => patch({ spec: { mode: "Paused" } })],
  ["a resume", () => patch({ spec: { mode: "Running" } })],
  ["the loss of the orchestrator's pod", () => deletePod("orchestrator")],
  ["a revocation", () => patch({ spec: { mode: "Revoked" } })],
  ["its end", () => patch({ spec: { mode: "Running" } })],
];

async function deletePod(component: string): Promise<void> {
  const selector = `supercargo.dev/agent=${DEMO.agent},app.kubernetes.io/component=${component}`;
  await world.kubectl.run(["-n", DEMO.agentNamespace, "delete", "pod", "-l", selector, "--force", "--grace-period=0"]);
}

/** Answers that contradict a condition that had held for the tolerance before and held for it after. */
function contradictions(
  seen: readonly Seen[],
  answers: readonly Asked[],
  wrong: (answer: Asked) => string | undefined,
): string[] {
  return answers.flatMap((answer) => {
    const around = seen.filter(({ at }) => Math.abs(at - answer.at) <= TOLERANCE_MS);
    const problem = wrong(answer);
    if (problem === undefined || around.length < 3) return [];
    return around.every(({ conditions }) => conditions[problem] === "True")
      ? [`${problem}=True but status ${answer.status}`]
      : [];
  });
}

describe("conditions beside an outside observer, second by second", () => {
  it("Ready means served, Suspended means refused, through rollouts, pauses, losses and a revocation", async () => {
    const seen: Seen[] = [];
    const until = Date.now() + EVENTS.length * 16_000;
    const events = EVENTS.map(([, run], index) => sleep(index * 16_000 + 1000).then(run));
    while (Date.now() < until) {
      seen.push(await look());
      await sleep(1000);
    }
    await Promise.all(events);
    const answers = await asked();
    const first = seen[0]?.at ?? 0;
    const during = answers.filter(({ at }) => at >= first);

    expect(during.length).toBeGreaterThan(60);
    expect(during.some(({ status }) => status === 200)).toBe(true);
    expect(during.some(({ status }) => status === 403)).toBe(true);
    expect(seen.some(({ conditions }) => conditions["Ready"] === "False")).toBe(true);
    expect(seen.some(({ conditions }) => conditions["Suspended"] === "True")).toBe(true);
    expect(contradictions(seen, during, ({ status }) => (status === 200 ? undefined : "Ready"))).toEqual([]);
    expect(contradictions(seen, during, ({ status }) => (status === 200 ? "Suspended" : undefined))).toEqual([]);
  });
});
