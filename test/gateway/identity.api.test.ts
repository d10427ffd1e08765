import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createKubectl, type Kubectl } from "../../scripts/demo/kubectl.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { type Emulator, startEmulator } from "../../services/emulator/app.ts";
import {
  control,
  createFolder,
  eventually,
  type Folder,
  type GatewayProcess,
  startGateway,
} from "../../services/gateway/test-world.ts";
import { CONFIG_MAPS } from "../../services/runtime/kube/resources.ts";
import { condition, createAgent, NAME, patchAgent, useAgentWorld, world } from "../api/agent-world.ts";
import { must } from "../api/harness.ts";

/** From the AgentDeployment to the door: an API server, the operator, the config that it wrote, and a gateway that runs with it. */

useAgentWorld();

const TENANT = "00000000-0000-4000-8000-00000000aaaa";
const CLIENT = "6731de76-14a6-49ae-97bc-6eba6914391e";

let kubectl: Kubectl;
let emulator: Emulator;
let folder: Folder;
let gateway: GatewayProcess;

beforeAll(async () => {
  kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: world.api.kubeconfig });
  emulator = await startEmulator();
  folder = createFolder();
  folder.writeControl(control());
});
afterAll(async () => {
  await gateway?.signal("SIGKILL");
  await emulator?.stop();
  folder?.remove();
});

/** What the kubelet would mount. */
async function mount(): Promise<void> {
  const key = { namespace: world.namespace, name: `${NAME}-config` };
  const map = must(await world.api.client.get(CONFIG_MAPS, key));
  const { data } = z.object({ data: z.object({ "gateway.json": z.string() }) }).parse(map);
  folder.writeConfig(data["gateway.json"]);
}

/** A token as a projected volume holds it. */
async function accountToken(account: string, audience: string): Promise<string> {
  const wanted = ["create", "token", account, "-n", world.namespace, `--audience=${audience}`, "--duration=10m"];
  return (await kubectl.run(wanted)).trim();
}

async function clientToken(form: Record<string, string> = {}): Promise<string> {
  const fixed = { grant_type: "client_credentials", client_id: CLIENT, client_secret: "s", scope: "agents/.default" };
  const body = new URLSearchParams({ ...fixed, roles: "Agent.Call", ...form });
  const answer = await fetch(`${emulator.url}/token`, { method: "POST", body });
  return z.object({ access_token: z.string() }).parse(await answer.json()).access_token;
}

/** The status, and why. */
async function knock(token: string): Promise<string> {
  const answer = await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${token}` } });
  const { error } = z.looseObject({ error: z.object({ message: z.string() }).optional() }).parse(await answer.json());
  return error === undefined ? `${answer.status}` : `${answer.status} ${error.message}`;
}

describe("an AgentDeployment with an issuer", () => {
  it("lets in tokens of the issuer and of its own orchestrator, and nobody else's", async () => {
    const oidc = {
      name: "entra",
      issuer: emulator.url,
      audience: "agents",
      entra: { tenantId: TENANT },
      actors: [CLIENT],
      roles: ["Agent.Call"],
      egress: { cidrs: ["127.0.0.1/32"] },
    };
    await createAgent({ exposure: { auth: { oidc: [oidc] } } });
    await condition("Ready", { status: "True" });
    await mount();
    gateway = await startGateway(folder);
    await eventually(async () => ((await gateway.ready()).status === 200 ? true : undefined));

    expect(await knock(await clientToken())).toBe("200");
    expect(await knock(await clientToken({ roles: "Reader" }))).toBe(
      "403 Cannot accept the token: roles must hold one of Agent.Call",
    );
    expect(await knock(await clientToken({ tid: CLIENT }))).toBe(
      `401 Cannot accept the token: tid must be ${TENANT}: current value is "${CLIENT}"`,
    );

    const audience = `gateway.${NAME}.${world.namespace}.supercargo.dev`;
    expect(await knock(await accountToken(`${NAME}-orchestrator`, audience))).toBe("200");
    expect(await knock(await accountToken(`${NAME}-gateway`, audience))).toBe(
      `401 Cannot accept the token: subject system:serviceaccount:${world.namespace}:${NAME}-gateway is not allowed here`,
    );
    expect(await knock(await accountToken(`${NAME}-orchestrator`, "another"))).toBe(
      `401 Cannot accept the token: aud must be ${audience}: current value is ["another"]`,
    );

    // What is taken out of the spec stays out: the pod reads the mounted file again.
    const token = await clientToken();
    expect(await knock(token)).toBe("200");
    await patchAgent({ exposure: { auth: { oidc: [{ ...oidc, actors: [TENANT] }] } } });
    await condition("Ready", { status: "True" });
    await mount();
    await eventually(async () => ((await knock(token)).startsWith("403 ") ? true : undefined));
  });
});
