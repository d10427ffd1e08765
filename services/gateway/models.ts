import { allowsModel } from "#core/grant.ts";
import { auditTurn } from "./telemetry/audit.ts";
import type { Gateway } from "./gateway.ts";
import type { Turn } from "./turn.ts";

/** GET /v1/models: the configured aliases that the plan allows, nothing of what stands behind them. */
export function listModels(gateway: Gateway, turn: Turn): void {
  const features = gateway.live.control()?.entitlement.features;
  const models = (turn.snapshot?.config.models ?? []).filter(({ name }) => allowsModel(features, name));
  const body = Buffer.from(
    JSON.stringify({
      object: "list",
      data: models.map((model) => ({ id: model.name, object: "model", created: 0, owned_by: "supercargo" })),
    }),
  );
  auditTurn(gateway, turn, { status: 200 });
  turn.response.writeHead(200, {
    "content-type": "application/json; charset=utf-8",
    "content-length": String(body.length),
    "x-request-id": turn.requestId,
  });
  turn.response.end(body);
}
