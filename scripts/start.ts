import { mkdirSync, writeFileSync } from "node:fs";
import { styleText } from "node:util";
import { openCluster } from "../test/cluster/local/cluster.ts";
import { heading, runMain, say, step, stepTimes } from "./console.ts";
import { applySample, ask, demoApiKey } from "./demo/agent.ts";
import { openAzureControl } from "./demo/azure-control.ts";
import { installAzure } from "./demo/azure.ts";
import { demoValues, installChart } from "./demo/install.ts";
import { createKubectl, type Kubectl, waitFor } from "./demo/kubectl.ts";
import { DEMO } from "./demo/names.ts";
import { forwardPort } from "./demo/port-forward.ts";
import { addsUp, catchUpClock, isClosed, passConfirmation, readAccount, renderAccount } from "./demo/receipt.ts";
import { buildImages } from "./image.ts";
import { ensureHelm, ensureKubectl } from "./tools/helm-and-kubectl.ts";

const QUESTIONS = ["Where is order A-1003?", "Check the papers of order A-1003"];

await runMain(async () => {
  heading("Cluster");
  const cluster = await step("A real Kubernetes: etcd, API server, kubelet, DNS, network policy", () => openCluster());
  const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: cluster.kubeconfig });
  const images = await step("Images: one for the product, one for what stands in for Azure", () =>
    buildImages(cluster),
  );

  heading("Install");
  await step("Stand-ins for Azure: metering API, IMDS, model", () => installAzure(kubectl, images.emulator.reference));
  await step("helm upgrade --install supercargo", async () =>
    installChart(kubectl, { helm: await ensureHelm(4), values: demoValues(images.supercargo) }),
  );
  const apiKey = demoApiKey();
  await step(`kubectl apply: the tool server and the AgentDeployment ${DEMO.agent}, until it is Ready`, () =>
    applySample(kubectl, { apiKey, image: images.supercargo.reference, toolsImage: images.emulator.reference }),
  );

  heading("Two questions");
  for (const question of QUESTIONS) {
    const answer = await step(`POST /v1/responses: ${question}`, () => askOnce(kubectl, apiKey, question));
    say(`  ${styleText("bold", answer.text)}`);
    say(`  tools called: ${answer.tools.join(", ") || "none"}`);
  }

  heading("Its usage becomes money");
  await showReceipt(kubectl);
  goOn(kubectl);
});

async function askOnce(kubectl: Kubectl, apiKey: string, question: string): ReturnType<typeof ask> {
  const gateway = await forwardPort(kubectl, {
    namespace: DEMO.agentNamespace,
    resource: `service/${DEMO.agent}-gateway`,
    port: 8080,
  });
  try {
    return await ask({ url: gateway.url, apiKey, question });
  } finally {
    gateway.stop();
  }
}

/** An hour passes on the emulator's clock; sidecars publish the boundary, the reporter closes it and posts. */
async function showReceipt(kubectl: Kubectl): Promise<void> {
  const azure = await openAzureControl(kubectl);
  try {
    await catchUpClock(kubectl, azure);
    const before = new Set((await azure.events()).map((event) => event.usageEventId));
    const hour = await azure.advanceToNextHour();
    const account = await step("The hour ends (by the emulator's clock); usage is closed, posted, accepted", () =>
      waitFor(
        async () => {
          const now = await readAccount(kubectl);
          await passConfirmation(azure, now);
          return isClosed(now, hour) && addsUp(now.rows) ? now : undefined;
        },
        { what: "accepted usage that equals what was counted", timeoutSeconds: 120 },
      ),
    );
    say(renderAccount(account.rows));
    say("\nUsage events that the metering API booked just now:");
    for (const event of await azure.events())
      if (!before.has(event.usageEventId))
        say(
          `  ${event.usageEventId}  ${event.effectiveStartTime}  ${event.dimension}  ${event.quantity}  plan ${event.planId}`,
        );
    say(`\nThe receipt, kubectl get usagestatements:\n${await kubectl.run(["get", "usagestatements"])}`);
  } finally {
    azure.stop();
  }
}

function goOn(kubectl: Kubectl): void {
  mkdirSync(".cache/demo", { recursive: true });
  const environment = `export KUBECONFIG=${kubectl.kubeconfig}\nexport PATH="$PATH:${kubectl.path.replace(/\/kubectl$/, "")}"\n`;
  writeFileSync(".cache/demo/env", environment);
  heading("Go on");
  say(`  . .cache/demo/env
  kubectl get agd -n ${DEMO.agentNamespace}
  kubectl get podusages -n ${DEMO.agentNamespace}
  kubectl port-forward -n ${DEMO.agentNamespace} service/${DEMO.agent}-gateway 8080:8080 &
  curl -s http://127.0.0.1:8080/v1/responses -H "authorization: Bearer $(cat .cache/demo/api-key)" \\
    -H 'content-type: application/json' -d '{"model":"${DEMO.agent}","input":"Refund order A-1003, 5000 cents, because \\"it runs slow\\""}'
  kubectl patch agd ${DEMO.agent} -n ${DEMO.agentNamespace} --type=merge -p '{"spec":{"mode":"Paused"}}'
  npm stop`);
  const total = stepTimes.reduce((sum, { seconds }) => sum + seconds, 0);
  say(`\nDone in ${total.toFixed(0)} s. Everything is left running.`);
}
