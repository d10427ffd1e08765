import { applySample, demoApiKey } from "../../scripts/demo/agent.ts";
import { type AzureControl, openAzureControl } from "../../scripts/demo/azure-control.ts";
import { installAzure } from "../../scripts/demo/azure.ts";
import { demoValues, installChart } from "../../scripts/demo/install.ts";
import { createKubectl, type Kubectl, waitFor } from "../../scripts/demo/kubectl.ts";
import { DEMO } from "../../scripts/demo/names.ts";
import { forwardPort, type PortForward } from "../../scripts/demo/port-forward.ts";
import {
  type Account,
  addsUp,
  catchUpClock,
  isClosed,
  passConfirmation,
  readAccount,
  waitForBooks,
} from "../../scripts/demo/receipt.ts";
import { buildImages } from "../../scripts/image.ts";
import { ensureHelm, ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { localCluster, openCluster } from "./local/cluster.ts";

/** A cluster with everything in it, as `npm start` leaves it. */
export interface World {
  readonly kubectl: Kubectl;
  readonly azure: AzureControl;
  readonly apiKey: string;
  readonly images: Awaited<ReturnType<typeof buildImages>>;
  close(): void;
}

/** Brings the whole demo up; quick when it is up already. `helm` is the major that installs the chart. */
export async function openWorld(helm: 3 | 4 = 4): Promise<World> {
  const cluster = await openCluster();
  const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: cluster.kubeconfig });
  const images = await buildImages(cluster);
  await installAzure(kubectl, images.emulator.reference);
  await installChart(kubectl, { helm: await ensureHelm(helm), values: demoValues(images.supercargo) });
  const apiKey = demoApiKey();
  await applySample(kubectl, { apiKey, image: images.supercargo.reference, toolsImage: images.emulator.reference });
  const azure = await openAzureControl(kubectl);
  if (await hasForgottenBookings(kubectl, azure)) {
    azure.stop();
    await localCluster.down();
    return openWorld(helm);
  }
  await catchUpClock(kubectl, azure);
  await waitForBooks(kubectl, azure);
  return { kubectl, azure, apiKey, images, close: azure.stop };
}

/** An emulator that was restarted has lost what it booked: against it nothing can be proved. */
async function hasForgottenBookings(kubectl: Kubectl, azure: AzureControl): Promise<boolean> {
  const booked = new Set((await azure.events()).map((event) => event.usageEventId));
  const { statements } = await readAccount(kubectl);
  const accepted = statements.flatMap(({ spec }) => spec.outcome?.usageEventId ?? []);
  return accepted.some((id) => !booked.has(id));
}

/** The agent's gateway on a local port. */
export function openGateway(kubectl: Kubectl, agent: string = DEMO.agent): Promise<PortForward> {
  return forwardPort(kubectl, {
    namespace: DEMO.agentNamespace,
    resource: `service/${agent}-gateway`,
    port: 8080,
  });
}

/** Changes the demo's AgentDeployment as `kubectl patch` does. */
export async function patchAgent(kubectl: Kubectl, change: unknown): Promise<void> {
  const merge = ["--type=merge", "-p", JSON.stringify(change)];
  await kubectl.run(["-n", DEMO.agentNamespace, "patch", "agd", DEMO.agent, ...merge]);
}

/** Lets the emulator's hour end and waits until it is closed and the books add up: accepted == whole units counted. */
export async function endHour(world: World): Promise<Account> {
  const hour = await world.azure.advanceToNextHour();
  return waitFor(
    async () => {
      const account = await readAccount(world.kubectl);
      await passConfirmation(world.azure, account);
      return isClosed(account, hour) && addsUp(account.rows) ? account : undefined;
    },
    { what: "accepted usage that equals what was counted", timeoutSeconds: 180, everyMs: 1000 },
  );
}
