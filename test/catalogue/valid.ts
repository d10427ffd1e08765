const dimensions = [
  { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" },
  { id: "chats_t2", from: "workflow_completed", unit: "conversation", divisor: "1" },
  { id: "tokens_1m", from: "output_tokens", unit: "1M tokens", divisor: "1000000" },
  { id: "platform_day", from: "billing_period", unit: "day", divisor: "1" },
  { id: "base_fee", from: "billing_period", unit: "month", divisor: "1" },
];
const month = (quantity: string) => ({ included: { quantity, per: "Month" } });

/** One plan of every kind that a catalogue can say; each is right alone and all of them together. */
const VALID_PLANS = {
  "each is billed": { billing: "Custom", dimensions: [{ id: "chats" }, { id: "tokens_1m" }] },
  "included by the month": { billing: "Custom", dimensions: [{ id: "chats", ...month("1000") }] },
  "included by the year": {
    billing: "Custom",
    dimensions: [{ id: "chats", included: { quantity: "12000", per: "Year" } }],
  },
  tiers: {
    billing: "Custom",
    dimensions: [
      { id: "chats_t2", ...month("5000") },
      { id: "chats", ...month("1000"), upTo: "5000" },
    ],
  },
  "a fee by the month and one by the day": {
    billing: "Custom",
    dimensions: [
      { id: "base_fee", fee: { quantity: "1", per: "Month" } },
      { id: "platform_day", fee: { quantity: "2", per: "Day" } },
      { id: "chats" },
    ],
  },
  "a fee by the year": { billing: "Custom", dimensions: [{ id: "base_fee", fee: { quantity: "10", per: "Year" } }] },
  limits: {
    billing: "Custom",
    dimensions: [{ id: "chats", ...month("0"), softPercent: 90, hard: "20000" }],
    features: {
      agentsMax: 3,
      requestsPerMinute: 600,
      models: ["gpt", "small-1"],
      routes: ["chat", "responses", "embeddings", "agent"],
      tools: ["orders", "orders/get_order", "crm/Find-1"],
    },
  },
  "the largest limit": { billing: "Custom", dimensions: [{ id: "tokens_1m", ...month("0"), hard: "999999999999" }] },
  "tiers with a limit": {
    billing: "Custom",
    dimensions: [
      { id: "chats", ...month("0"), upTo: "5000", hard: "9000" },
      { id: "chats_t2", ...month("5000") },
    ],
  },
  "the customer's own licence": { billing: "BYOL", dimensions: [{ id: "chats" }, { id: "chats_t2" }] },
  "free within a limit": { billing: "Free", dimensions: [{ id: "chats", ...month("100"), hard: "100" }] },
  "nothing to count": { billing: "Free", dimensions: [] },
  "billed by Azure itself": { billing: "Predefined", dimensions: [] },
};

const plans = Object.entries(VALID_PLANS).map(([displayName, plan], index) => ({
  id: `p-${index}`,
  displayName,
  ...plan,
}));

/** Catalogues that operator, reporter and chart take. */
export const VALID_CATALOGUES: readonly { readonly what: string; readonly value: unknown }[] = [
  ...plans.map((plan) => ({ what: plan.displayName, value: { dimensions, plans: [plan] } })),
  { what: "all of them together", value: { dimensions, plans } },
];
