import type { KubeObject } from "../../services/runtime/kube/types.ts";

/** An agent whose model and tool are public hosts: it needs nothing else in the cluster. */
export function sampleAgent(
  key: { readonly namespace: string; readonly name: string },
  spec: Readonly<Record<string, unknown>> = {},
): KubeObject {
  return {
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "AgentDeployment",
    metadata: key,
    spec: {
      instructions: "You answer questions.",
      models: [
        {
          name: "default",
          deployments: [
            {
              name: "main",
              type: "OpenAI",
              openAI: { baseUrl: "https://api.example.com/v1", model: "gpt" },
              auth: { type: "SecretRef", secretRef: { name: "model-key", key: "api-key" } },
            },
          ],
        },
      ],
      tools: [
        {
          name: "orders",
          mcp: { url: "https://orders.example.com/mcp" },
          functions: [{ name: "get_order", lane: "Automatic" }],
        },
      ],
      exposure: {
        allowedNamespaces: ["shop"],
        auth: { apiKeys: [{ name: "shop", sha256: "a".repeat(64), principal: "shop@example.com" }] },
      },
      ...spec,
    },
  };
}
