import type { Control, GatewayConfig } from "#core/api/pod-config.ts";
import { systemClock } from "#runtime/clock.ts";
import {
  createTestKey,
  entraClaims,
  entraIssuer,
  startTestIssuer,
  type TestIssuer,
} from "../../../services/gateway/identity/test-issuer.ts";
import { type LocalGateway, startLocalGateway } from "../../../services/gateway/test-local.ts";
import {
  control,
  createFolder,
  createServiceIssuer,
  eventually,
  type Folder,
  gatewayConfig,
  type Peer,
  type ServiceIssuer,
  startPeer,
} from "../../../services/gateway/test-world.ts";
import { ALL, answerWell, type Ask, bearer, toInit, withHeaders } from "./asks.ts";

/** What became of one request. */
export interface Got {
  readonly id: string;
  readonly status: number;
  /** Of the body, or of the event that ended a stream. */
  readonly code: string | undefined;
  /** The connection broke off within the answer. */
  readonly isBroken: boolean;
}

/** A gateway in this process with all that it talks to, and what it has written down. */
export interface AuditWorld {
  readonly local: LocalGateway;
  readonly folder: Folder;
  readonly model: Peer;
  readonly orchestrator: Peer;
  /** How the model's deployments did is forgotten before each request, unless it should be known. */
  readonly breakers: { areKept: boolean };
  /** Ids of the requests that were answered, or have ended otherwise. */
  readonly ids: string[];
  send(ask: Ask): Promise<Got>;
  /** The records of a request. */
  recordsOf(id: string): Record<string, unknown>[];
  /** The record of a request, once it is there. */
  recordOf(id: string): Promise<Record<string, unknown>>;
  setConfig(more?: Partial<GatewayConfig>): void;
  setControl(changed?: Partial<Control>): void;
  /** All routes, with a token of the issuer. */
  withToken(claims: Record<string, unknown>): Promise<Ask[]>;
  /** The same with a token of our orchestrator. */
  asOrchestrator(asks: readonly Ask[]): Promise<Ask[]>;
  stop(): Promise<void>;
}

export async function startAuditWorld(): Promise<AuditWorld> {
  const [model, orchestrator] = [await startPeer(answerWell), await startPeer(answerWell)];
  const issuer = await startTestIssuer([await createTestKey("one")]);
  const ours = await createServiceIssuer();
  const folder = createFolder();
  const peers = { model, orchestrator, issuer, ours, folder };
  writeConfig(peers);
  folder.writeControl(control());
  const local = await startLocalGateway(folder);
  await eventually(() => (issuer.looks() > 0 ? true : undefined));
  return toWorld(local, peers);
}

interface Peers {
  readonly model: Peer;
  readonly orchestrator: Peer;
  readonly issuer: TestIssuer;
  readonly ours: ServiceIssuer;
  readonly folder: Folder;
}

function writeConfig({ model, orchestrator, issuer, ours, folder }: Peers, more: Partial<GatewayConfig> = {}): void {
  const dead = entraIssuer("http://127.0.0.1:9", { name: "dead" });
  folder.writeConfig({
    ...gatewayConfig({ modelUrl: model.url, orchestratorUrl: orchestrator.url, identity: ours.identity }),
    oidc: [entraIssuer(issuer.url), dead],
    ...more,
  });
}

function toWorld(local: LocalGateway, peers: Peers): AuditWorld {
  const { model, orchestrator, issuer, ours, folder } = peers;
  const ids: string[] = [];
  const breakers = { areKept: false };
  const recordsOf = (id: string): Record<string, unknown>[] =>
    local.lines.filter((line) => line["audit"] === true && line["requestId"] === id);
  return {
    local,
    folder,
    model,
    orchestrator,
    breakers,
    ids,
    recordsOf,
    async send(ask) {
      if (!breakers.areKept) forgetFaults(local);
      const got = await read(await fetch(`${local.server.url}${ask.path}`, toInit(ask)));
      ids.push(got.id);
      return got;
    },
    recordOf: (id) => eventually(() => recordsOf(id)[0]),
    setConfig(more) {
      writeConfig(peers, more);
      local.gateway.live.refreshConfig();
    },
    setControl(changed) {
      folder.writeControl(control(changed));
      local.gateway.live.refreshControl();
    },
    async withToken(claims) {
      const [key] = issuer.keys;
      if (key === undefined) throw new Error("An issuer must have a key");
      return withHeaders(ALL, bearer(await key.sign({ ...entraClaims(issuer.url, systemClock.now()), ...claims })));
    },
    asOrchestrator: async (asks) => withHeaders(asks, bearer(await ours.sign())),
    async stop() {
      await local.stop();
      await Promise.all([model.stop(), orchestrator.stop(), issuer.stop()]);
      folder.remove();
    },
  };
}

function forgetFaults({ gateway }: LocalGateway): void {
  gateway.deployments.retain([]);
  gateway.deployments.retain(gateway.live.snapshot()?.models.values() ?? []);
}

async function read(answer: Response): Promise<Got> {
  const id = answer.headers.get("x-request-id") ?? "none";
  let text = "";
  let isBroken = false;
  try {
    for await (const chunk of answer.body ?? []) text += Buffer.from(chunk).toString();
  } catch {
    isBroken = true;
  }
  return { id, status: answer.status, code: codeOf(text), isBroken };
}

/** The code of an error in OpenAI's shape. */
export const codeOf = (text: string): string | undefined => /"code":"(\w+)"/.exec(text)?.[1];
