/** Names of the demo, shared by `npm start`, `npm stop` and the stories of test/cluster. */
export const DEMO = {
  release: "supercargo",
  systemNamespace: "supercargo-system",
  agentNamespace: "order-desk",
  agent: "order-desk",
  azureNamespace: "supercargo-azure",
  plan: "starter",
  clientId: "11111111-1111-4111-8111-111111111111",
  /** A second extension's identity, which IMDS knows beside the first: for a world of its own in the same cluster. */
  otherClientId: "22222222-2222-4222-8222-222222222222",
  /** The all-zero subscription is the one with which a clock may be moved. */
  resourceId:
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/demo/providers/Microsoft.ContainerService/managedClusters/demo/providers/Microsoft.KubernetesConfiguration/extensions/supercargo",
} as const;
