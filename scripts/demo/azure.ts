import { readCatalogue } from "./catalogue.ts";
import { DEMO } from "./names.ts";
import type { Kubectl } from "./kubectl.ts";

/** Ports of the emulator inside its pod. */
export const AZURE_PORTS = { http: 8080, control: 8081 } as const;

const labels = { "app.kubernetes.io/name": "emulator", "app.kubernetes.io/part-of": "supercargo-demo" };

/** Restricted in every way but one: see imdsPod. */
const restricted = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

/** Base URLs as pods of the cluster see them. */
export const AZURE_URLS = {
  marketplace: `http://emulator.${DEMO.azureNamespace}.svc.cluster.local:${AZURE_PORTS.http}/api`,
  control: `http://emulator.${DEMO.azureNamespace}.svc.cluster.local:${AZURE_PORTS.control}/control/clock`,
} as const;

/** What the emulated Marketplace has sold: one extension with the plans of the catalogue. */
function resources(): unknown {
  return {
    identities: [{ clientId: DEMO.clientId }, { clientId: DEMO.otherClientId }],
    resources: [
      {
        resourceUri: DEMO.resourceId,
        ownerClientId: DEMO.clientId,
        plans: readCatalogue().plans.map((plan) => ({
          planId: plan.id,
          dimensions: plan.dimensions.map(({ id }) => id),
        })),
      },
    ],
  };
}

/**
 * The stand-ins for what only Azure has, as objects: metering API, model and control behind a Service, and IMDS on its
 * real address. The namespace is privileged for IMDS alone, which sits in the node's network and binds port 80.
 */
export function azureObjects(image: string): unknown[] {
  return [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: DEMO.azureNamespace, labels: { "pod-security.kubernetes.io/enforce": "privileged" } },
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "emulator", namespace: DEMO.azureNamespace },
      data: { "resources.json": JSON.stringify(resources()) },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "emulator", namespace: DEMO.azureNamespace, labels },
      spec: {
        selector: { ...labels, "app.kubernetes.io/component": "azure" },
        ports: Object.entries(AZURE_PORTS).map(([name, port]) => ({ name, port, targetPort: port })),
      },
    },
    deployment("azure", image, azurePod()),
    deployment("imds", image, imdsPod()),
  ];
}

/** Applies the stand-ins and waits until they answer. */
export async function installAzure(kubectl: Kubectl, image: string): Promise<void> {
  await kubectl.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items: azureObjects(image) }));
  for (const name of ["azure", "imds"])
    await kubectl.run(["-n", DEMO.azureNamespace, "rollout", "status", `deployment/${name}`, "--timeout=120s"]);
}

function deployment(component: string, image: string, pod: { spec: object; container: object }): unknown {
  const podLabels = { ...labels, "app.kubernetes.io/component": component };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: component, namespace: DEMO.azureNamespace, labels: podLabels },
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: podLabels },
      template: {
        metadata: { labels: podLabels },
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 5,
          ...pod.spec,
          containers: [
            {
              name: component,
              image,
              imagePullPolicy: "IfNotPresent",
              args: ["/app/emulator.js"],
              resources: { requests: { cpu: "20m", memory: "64Mi" }, limits: { memory: "256Mi" } },
              ...pod.container,
            },
          ],
        },
      },
    },
  };
}

function azurePod(): { spec: object; container: object } {
  return {
    spec: {
      securityContext: { runAsNonRoot: true, runAsUser: 65532 },
      volumes: [{ name: "resources", configMap: { name: "emulator" } }],
    },
    container: {
      securityContext: restricted,
      env: env({
        STAND_INS: "metering,model,contentSafety,issuer,control",
        PORT: String(AZURE_PORTS.http),
        CONTROL_PORT: String(AZURE_PORTS.control),
        RESOURCES_FILE: "/etc/emulator/resources.json",
        SIGNING_SEED: "demo",
        // The sample agent names no key for its model.
        MODEL_AUTH: "None",
        PUBLIC_URL: `http://emulator.${DEMO.azureNamespace}.svc.cluster.local:${AZURE_PORTS.http}`,
      }),
      ports: Object.entries(AZURE_PORTS).map(([name, containerPort]) => ({ name, containerPort })),
      readinessProbe: { httpGet: { path: "/readyz", port: "http" }, periodSeconds: 1 },
      volumeMounts: [{ name: "resources", mountPath: "/etc/emulator", readOnly: true }],
    },
  };
}

/** IMDS as pods reach it in Azure: 169.254.169.254:80. Root, as a port below 1024 needs it; no other privilege. */
function imdsPod(): { spec: object; container: object } {
  return {
    spec: { hostNetwork: true, volumes: [{ name: "resources", configMap: { name: "emulator" } }] },
    container: {
      securityContext: { ...restricted, runAsUser: 0, capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] } },
      env: env({
        STAND_INS: "imds",
        IMDS_HOST: "169.254.169.254",
        IMDS_PORT: "80",
        SIGNING_SEED: "demo",
        RESOURCES_FILE: "/etc/emulator/resources.json",
      }),
      volumeMounts: [{ name: "resources", mountPath: "/etc/emulator", readOnly: true }],
    },
  };
}

function env(values: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}
