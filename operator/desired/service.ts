import { POD_PORTS } from "#core/pod-paths.ts";
import { PERSISTENT_VOLUME_CLAIMS, POD_DISRUPTION_BUDGETS, SERVICES } from "#runtime/kube/resources.ts";
import { canonicalQuantity } from "../canonical.ts";
import { type DesiredInput, replicaRange } from "./input.ts";
import { child, childName, COMPONENTS, type DesiredObject, selectorLabels } from "./names.ts";

/** The public port of each component; the admin port is part of no Service. */
export function services(input: DesiredInput): DesiredObject[] {
  return COMPONENTS.map((component) =>
    child(input.agent, {
      ref: SERVICES,
      name: childName(input.agent, component),
      component,
      body: {
        spec: {
          type: "ClusterIP",
          selector: selectorLabels(input.agent, component),
          ports: [
            { name: "http", port: POD_PORTS[component], targetPort: "http", protocol: "TCP", appProtocol: "http" },
          ],
        },
      },
    }),
  );
}

/** Not for a single pod: it would block every drain. */
export function podDisruptionBudgets(input: DesiredInput): DesiredObject[] {
  return COMPONENTS.filter((component) => replicaRange(input.spec, component).min > 1).map((component) =>
    child(input.agent, {
      ref: POD_DISRUPTION_BUDGETS,
      name: childName(input.agent, component),
      component,
      body: { spec: { maxUnavailable: 1, selector: { matchLabels: selectorLabels(input.agent, component) } } },
    }),
  );
}

/** The orchestrator's journal. It goes with the agent, never before: pruning leaves it alone. */
export function journalClaim(input: DesiredInput): DesiredObject[] {
  const { type, volume } = input.spec.orchestrator.storage;
  if (type !== "Volume") return [];
  return [
    child(input.agent, {
      ref: PERSISTENT_VOLUME_CLAIMS,
      name: childName(input.agent, "journal"),
      component: "orchestrator",
      body: {
        spec: {
          accessModes: ["ReadWriteOnce"],
          ...(volume?.storageClassName === undefined ? {} : { storageClassName: volume.storageClassName }),
          resources: { requests: { storage: canonicalQuantity(volume?.size ?? "1Gi") } },
        },
      },
    }),
  ];
}
