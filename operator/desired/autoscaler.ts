import { apiVersionOf, DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS } from "#runtime/kube/resources.ts";
import { type DesiredInput, replicasOf } from "./input.ts";
import { child, childName, COMPONENTS, type DesiredObject } from "./names.ts";

/**
 * One for each workload whose replicas the operator leaves to others. It looks at the service's own container alone: the
 * meter beside it has nothing to do with load.
 */
export function autoscalers(input: DesiredInput): DesiredObject[] {
  return COMPONENTS.flatMap((component) => {
    const { autoscaling } = input.spec[component];
    if (autoscaling === undefined || replicasOf(input.spec, component) !== "Autoscaled") return [];
    const { minReplicas, maxReplicas, cpuUtilizationPercent } = autoscaling;
    const name = childName(input.agent, component);
    const target = { type: "Utilization", averageUtilization: cpuUtilizationPercent };
    return [
      child(input.agent, {
        ref: HORIZONTAL_POD_AUTOSCALERS,
        name,
        component,
        body: {
          spec: {
            scaleTargetRef: { apiVersion: apiVersionOf(DEPLOYMENTS), kind: DEPLOYMENTS.kind, name },
            minReplicas,
            maxReplicas,
            metrics: [{ type: "ContainerResource", containerResource: { name: "cpu", container: component, target } }],
          },
        },
      }),
    ];
  });
}
