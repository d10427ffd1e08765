import { catalogueSchema, type Catalogue } from "#core/plan.ts";

/** Base dimensions that pods use; how many base units a use may bring at most. */
export const USED = [
  ["tool_action", 8],
  ["input_tokens", 4000],
  ["workflow_completed", 12],
] as const;

const dimensions = [
  { id: "tool_action", from: "tool_action", unit: "action", divisor: "1" },
  { id: "tokens_1k_in", from: "input_tokens", unit: "1K tokens", divisor: "1000" },
  { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" },
  { id: "chats_t2", from: "workflow_completed", unit: "conversation", divisor: "1" },
  { id: "base_fee", from: "billing_period", unit: "period", divisor: "1" },
];

const month = (quantity: string) => ({ included: { quantity, per: "Month" } });
const year = (quantity: string) => ({ included: { quantity, per: "Year" } });

/** One catalogue, plans of every kind: the customer of a history buys one of them, or changes to another. */
export const CATALOGUE: Catalogue = catalogueSchema.parse({
  dimensions,
  plans: [
    {
      id: "starter",
      displayName: "Included by the month",
      billing: "Custom",
      dimensions: [{ id: "tool_action" }, { id: "tokens_1k_in" }, { id: "chats", ...month("10") }],
    },
    {
      id: "tiers",
      displayName: "Two prices for conversations",
      billing: "Custom",
      dimensions: [
        { id: "tool_action" },
        { id: "tokens_1k_in", ...year("3") },
        { id: "chats", ...month("5"), upTo: "15" },
        { id: "chats_t2", ...month("15") },
      ],
    },
    {
      id: "hybrid",
      displayName: "A fee by the day, tokens by use",
      billing: "Custom",
      dimensions: [{ id: "tokens_1k_in" }, { id: "base_fee", fee: { quantity: "2", per: "Day" } }],
    },
    {
      id: "capped",
      displayName: "Never more than so many actions",
      billing: "Custom",
      dimensions: [{ id: "tool_action", ...month("4"), hard: "30" }, { id: "tokens_1k_in" }],
    },
    {
      id: "bounded",
      displayName: "Two prices for conversations, and an end of both",
      billing: "Custom",
      dimensions: [
        { id: "tool_action" },
        { id: "tokens_1k_in", ...year("3"), hard: "12" },
        { id: "chats", ...month("5"), upTo: "15" },
        { id: "chats_t2", ...month("15"), hard: "40" },
      ],
    },
    { id: "gratis", displayName: "Gratis", billing: "Free", dimensions: [{ id: "tool_action" }] },
  ],
});
