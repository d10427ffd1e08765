import { runCommand } from "../run-command.ts";
import { AZURE_PORTS, AZURE_URLS } from "./azure.ts";
import type { Kubectl } from "./kubectl.ts";
import { DEMO } from "./names.ts";

export interface ImageRef {
  /** Registry and repository without a tag. */
  readonly repository: string;
  readonly tag: string;
}

/** Values of the demo: Marketplace mode against the emulator, whose namespace is a named peer of the reporter. */
export function demoValues(
  image: ImageRef,
  overrides: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    image: { registry: "", repository: image.repository, tag: image.tag, pullPolicy: "IfNotPresent" },
    global: {
      azure: {
        identity: { clientId: DEMO.clientId },
        marketplace: { planId: DEMO.plan },
        extension: { resourceId: DEMO.resourceId },
      },
    },
    marketplace: { url: AZURE_URLS.marketplace },
    emulator: { clockUrl: AZURE_URLS.control },
    networkPolicy: {
      reporter: {
        egress: [
          {
            to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": DEMO.azureNamespace } } }],
            ports: Object.values(AZURE_PORTS).map((port) => ({ port, protocol: "TCP" })),
          },
        ],
      },
    },
    ...overrides,
  };
}

/** Installs or upgrades the chart into a namespace that enforces Pod Security `restricted`, and waits for both Deployments. */
export async function installChart(
  kubectl: Kubectl,
  options: { readonly helm: string; readonly values: Readonly<Record<string, unknown>> },
): Promise<void> {
  await kubectl.apply(
    JSON.stringify({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: DEMO.systemNamespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    }),
  );
  await runCommand(
    [
      options.helm,
      "upgrade",
      "--install",
      DEMO.release,
      "charts/supercargo",
      "--namespace",
      DEMO.systemNamespace,
      "--values",
      "-",
      "--timeout",
      "180s",
      "--wait",
    ],
    { env: { KUBECONFIG: kubectl.kubeconfig }, input: JSON.stringify(options.values) },
  );
}
