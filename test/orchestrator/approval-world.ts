import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import type { Control, OrchestratorConfig, OrchestratorTool } from "#core/api/pod-config.ts";
import type { ApprovalView } from "#core/approvals.ts";
import { type Counters, openCounters } from "#runtime/counters.ts";
import { createHolds } from "#runtime/holds.ts";
import { createLogger } from "#runtime/log.ts";
import { createFakeClock, type FakeClock } from "../fakes/clock.ts";
import type { RunWorld } from "../../services/orchestrator/active-run.ts";
import { COUNTED_DIMENSIONS, createFactCounter } from "../../services/orchestrator/counting.ts";
import { createRunMetrics } from "../../services/orchestrator/metrics.ts";
import type { ModelAnswer } from "../../services/orchestrator/model-stream.ts";
import { type OutputItem, NO_USAGE } from "../../services/orchestrator/responses/items.ts";
import { createRequestSchema } from "../../services/orchestrator/responses/request.ts";
import { createRuns, type Runs } from "../../services/orchestrator/runs.ts";
import type { Journal } from "../../services/orchestrator/store/journal.ts";
import { openSqliteJournal } from "../../services/orchestrator/store/sqlite.ts";
import { NO_TRACE } from "../../services/orchestrator/trace.ts";
import type { Approvals, NewApproval } from "../../services/orchestrator/approvals/port.ts";

/** A world around runs that keeps its state over processes: files, people, a tool that counts its effects, a scripted model. */
export interface ApprovalWorld {
  readonly clock: FakeClock;
  readonly people: People;
  /** Arguments of each effect that the tool has had. */
  readonly effects: unknown[];
  /** What the model was shown of tools' results, per call of the model. */
  readonly shown: string[];
  readonly logged: Record<string, unknown>[];
  config: OrchestratorConfig;
  control: Control;
  /** The next answers of the model; then `model` answers to what it is shown. */
  script: ModelAnswer[];
  model: (shown: string) => ModelAnswer;
  /** Called at each place where a process can die; throws to let it. */
  step: (place: string) => void;
  /** A new process on the same files. */
  boot(): Process;
  remove(): void;
}

export interface Process {
  readonly runs: Runs;
  readonly journal: Journal;
  readonly registry: Registry;
  total(dimension: string): bigint;
  /** One response from its beginning to its end; `key` as in Idempotency-Key. */
  respond(request: object, key?: string): Promise<Answered>;
  end(): void;
}

export interface Answered {
  readonly id: string;
  readonly status: unknown;
  readonly output: readonly OutputItem[];
}

/** Who decides, and what stands in the cluster. */
export interface People {
  readonly asked: Map<string, NewApproval>;
  readonly views: Map<string, ApprovalView>;
  isAway: boolean;
  decide(name: string, verdict: "Approve" | "Deny", reason?: string): void;
}

const WRITES = ["openRun", "appendTurn", "parkCall", "settleApproval", "startCall", "endCall", "endRun"];

export function createApprovalWorld(): ApprovalWorld {
  const directory = mkdtempSync(join(tmpdir(), "approvals-"));
  const clock = createFakeClock();
  let boots = 0;
  let serial = 0;
  const world: ApprovalWorld = {
    clock,
    people: createPeople(clock),
    effects: [],
    shown: [],
    logged: [],
    config: configOf(),
    control: {
      mode: "Running",
      revokedKeys: [],
      entitlement: { state: "Active", planId: "", validUntil: "2099-01-01T00:00:00Z" },
      leases: [],
      term: 0,
      clockOffsetSeconds: 0,
    },
    script: [],
    model: () => say("Done."),
    step: () => undefined,
    boot() {
      boots += 1;
      return bootProcess(world, { directory, owner: `process-${boots}`, newId: (prefix) => `${prefix}_${++serial}` });
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
  return world;
}

function createPeople(clock: FakeClock): People {
  const people: People = {
    asked: new Map(),
    views: new Map(),
    isAway: false,
    decide(name, verdict, reason) {
      const view = people.views.get(name);
      if (!view) throw new Error(`Nobody asked ${name}`);
      const decidedAt = new Date(clock.now()).toISOString();
      const decision = { verdict, decidedBy: "ann@example.com", decidedAt, digest: view.digest };
      people.views.set(name, { ...view, decision: { ...decision, ...(reason === undefined ? {} : { reason }) } });
    },
  };
  return people;
}

/** A journal whose writes are places to die at. A process that has died writes nothing more. */
function mortalJournal(journal: Journal, step: (place: string) => void): Journal {
  return new Proxy(journal, {
    get(target, key): unknown {
      const method: unknown = Reflect.get(target, key);
      if (typeof method !== "function" || typeof key !== "string" || !WRITES.includes(key)) return method;
      return (...values: unknown[]): unknown => {
        step(`before ${key}`);
        const result: unknown = Reflect.apply(method, target, values);
        step(`after ${key}`);
        return result;
      };
    },
  });
}

interface ProcessPlace {
  readonly directory: string;
  readonly owner: string;
  readonly newId: (prefix: string) => string;
}

function bootProcess(world: ApprovalWorld, { directory, owner, newId }: ProcessPlace): Process {
  const { clock, people } = world;
  let isDead = false;
  const step = (place: string): void => {
    if (isDead) throw new Error("The process is dead");
    try {
      world.step(place);
    } catch (error) {
      isDead = true;
      throw error;
    }
  };
  const journal = mortalJournal(openSqliteJournal(join(directory, "journal.db")), step);
  const file = join(directory, "counters");
  const counters = openCounters({ file, dimensions: COUNTED_DIMENSIONS, bootId: "boot" });
  const log = createLogger({
    component: "orchestrator",
    level: "info",
    destination: { write: (line) => void world.logged.push(JSON.parse(line)) },
  });
  const counter = createFactCounter(counters, journal, log);
  counter.count();
  const registry = new Registry();
  const runWorld: RunWorld = {
    journal,
    counter,
    live: liveOf(world, counters),
    servers: toolOf(world, step),
    approvals: approvalsOf(people, step),
    ask: async ({ body, onText }) => {
      step("before model");
      world.shown.push(JSON.stringify(body["messages"]));
      const answer = world.script[0] ?? world.model(world.shown.at(-1) ?? "");
      if (answer.text !== "") onText(answer.text);
      step("after model");
      world.script.shift();
      return answer;
    },
    metrics: createRunMetrics(registry, {
      activeRuns: () => 0,
      approvalsWaiting: () => journal.approvalsWaiting(clock.now()),
    }),
    clock,
    tracer: undefined,
    log,
    newId,
    toolTimeoutMs: 1000,
  };
  const runs = createRuns({ world: runWorld, runsMax: 8, retentionDays: 1, owner });
  return {
    runs,
    journal,
    registry,
    total: (dimension) => counters.total(dimension),
    async respond(request, key) {
      const parsed = createRequestSchema.parse(request);
      const id = newId("resp");
      const who = { principal: "alice", caller: "gateway", idempotencyKey: key ?? null, requestDigest: "" };
      const run = { id, ...who, request: parsed, model: "desk", createdAtMs: clock.now(), place: NO_TRACE };
      const { status } = await runs.start(run).done;
      return { id, status, output: journal.output(id) };
    },
    end() {
      isDead = true;
      journal.close();
      counters.close();
    },
  };
}

function approvalsOf(people: People, step: (place: string) => void): Approvals {
  return {
    async ask(approval) {
      step("before ask");
      if (people.isAway) return { ok: false, problem: "Unreachable: no answer" };
      people.asked.set(approval.name, approval);
      const { digest, expiresAtMs } = approval;
      const view = people.views.get(approval.name) ?? { uid: `uid-${approval.name}`, digest, expiresAtMs };
      people.views.set(approval.name, view);
      step("after ask");
      return { ok: true, view };
    },
    async read(name) {
      step("before read");
      if (people.isAway) return { ok: false, problem: "Unreachable: no answer" };
      return { ok: true, view: people.views.get(name) };
    },
  };
}

function liveOf(world: ApprovalWorld, counters: Counters): RunWorld["live"] {
  const control = (): Control => world.control;
  return {
    holds: createHolds({
      total: (dimension) => counters.total(dimension),
      epoch: counters.epoch,
      control,
      monotonicMs: () => world.clock.monotonic(),
    }),
    config: () => world.config,
    control,
    token: () => "token",
    verify: async () => ({ ok: false, reason: "not asked here" }),
    missing: () => undefined,
    refresh: () => undefined,
    start: () => () => undefined,
  };
}

function toolOf(world: ApprovalWorld, step: (place: string) => void): RunWorld["servers"] {
  const definition = { name: "refund", description: "Gives money back.", inputSchema: { type: "object" as const } };
  return {
    definitions: async () => [definition, { ...definition, name: "look" }],
    async call(_server: OrchestratorTool, request) {
      step("before effect");
      world.effects.push(request.arguments);
      step("after effect");
      return { kind: "Done", text: `${request.tool} done ${world.effects.length}` };
    },
    close: async () => undefined,
  };
}

/** The model asks for calls. */
export function callTools(...calls: readonly { readonly name: string; readonly arguments: object }[]): ModelAnswer {
  const toolCalls = calls.map((call, index) => ({
    id: `call_${index}`,
    name: call.name,
    arguments: JSON.stringify(call.arguments),
  }));
  return { text: "", toolCalls, finish: "tool_calls", usage: NO_USAGE };
}

export function say(text: string): ModelAnswer {
  return { text, toolCalls: [], finish: "stop", usage: NO_USAGE };
}

function configOf(): OrchestratorConfig {
  return {
    agent: { namespace: "shop", name: "desk" },
    generation: 1,
    instructions: "",
    model: "default",
    gateway: { url: "http://127.0.0.1:1", audience: "a" },
    tools: [
      {
        name: "orders",
        url: "http://127.0.0.1:1/mcp",
        auth: { type: "None" },
        functions: [
          { name: "refund", lane: "Approval", overLimit: "Never", retry: "Unsafe" },
          { name: "look", lane: "Automatic", overLimit: "Never", retry: "Safe" },
        ],
      },
    ],
    budgets: { turns: 6 },
    approvals: { timeoutSeconds: 600, reasonRequired: "OnDeny" },
    serviceIdentity: { issuer: "i", audience: "a", subjects: [], jwks: { keys: [] } },
  };
}
