import { agentDeploymentSpecSchema } from "../../services/core/api/agent-deployment.ts";
import type { DesiredInput } from "../../operator/desired/input.ts";

/** An input for tests: an agent with one model, one tool, one key. */
export function sampleInput(
  spec: Readonly<Record<string, unknown>> = {},
  change: Partial<DesiredInput> = {},
): DesiredInput {
  return {
    agent: { namespace: "agents", name: "order-desk", uid: "uid-1", generation: 3 },
    spec: agentDeploymentSpecSchema.parse({
      models: [
        {
          name: "default",
          deployments: [
            {
              name: "main",
              type: "AzureOpenAI",
              azureOpenAI: { endpoint: "https://example.openai.azure.com/", deployment: "gpt" },
              auth: { type: "SecretRef", secretRef: { name: "azure", key: "api-key" } },
            },
          ],
        },
      ],
      tools: [
        {
          name: "orders",
          mcp: {
            url: "http://orders:3000/mcp",
            auth: { type: "SecretRef", secretRef: { name: "tool", key: "token" } },
          },
          functions: [{ name: "get_order", lane: "Automatic", limits: { callsPerRun: 2 } }],
        },
      ],
      exposure: {
        allowedNamespaces: ["shop"],
        auth: { apiKeys: [{ name: "shop", sha256: "a".repeat(64), principal: "shop@example.com" }] },
      },
      ...spec,
    }),
    settings: {
      image: "registry.example.com/supercargo@sha256:1",
      imagePullPolicy: "IfNotPresent",
      clusterDomain: "cluster.local",
      sidecarClusterRole: "supercargo-sidecar",
      orchestratorClusterRole: "supercargo-orchestrator",
      extensionRelease: undefined,
      checkpointSeconds: 60,
      grantLifeSeconds: 86_400,
      limitedDimensions: [],
      entitlement: { state: "Active", features: {} },
      metricsPeers: [],
      offerResourceId: "plain",
      planId: "",
    },
    cluster: {
      issuer: "https://issuer.example.com",
      jwks: { keys: [{ kid: "1", kty: "RSA" }] },
      apiServers: [{ cidr: "10.199.0.1/32", port: 6443 }],
    },
    instructions: "You answer.",
    peers: { gateway: [], orchestrator: [] },
    usages: [],
    ...change,
  };
}
