import { z } from "zod";

/** The harm categories of text analysis, in the order of Azure's answers. */
export const CATEGORIES = ["Hate", "SelfHarm", "Sexual", "Violence"] as const;
export type Category = (typeof CATEGORIES)[number];

const text = z.string().min(1).max(1000);
const blocklistName = z.string().regex(/^[0-9A-Za-z._~-]{1,64}$/, "must be 1 to 64 of 0-9, A-Z, a-z and ._~-");

/** What the stand-in finds in texts beside its markers; the control API changes it. */
export const contentRulesSchema = z.strictObject({
  /** Texts that are an attack wherever they stand, in any case. */
  attacks: z.array(text).max(100).default(["ignore all previous instructions"]),
  /** Texts that have a severity of 0 to 7. */
  severities: z
    .array(z.strictObject({ text, category: z.enum(CATEGORIES), severity: z.int().min(0).max(7) }))
    .max(100)
    .default([]),
  blocklists: z
    .array(
      z.strictObject({
        name: blocklistName,
        items: z.array(z.strictObject({ id: z.string().min(1).max(64), text: z.string().min(1).max(128) })).max(100),
      }),
    )
    .max(10)
    .default([]),
});

export type ContentRules = z.output<typeof contentRulesSchema>;
type Blocklist = ContentRules["blocklists"][number];

export const defaultContentRules: ContentRules = contentRulesSchema.parse({});

const ATTACK_MARKER = "[[attack]]";
const SEVERITY_MARKER = /\[\[(hate|self_harm|sexual|violence) ([0-7])\]\]/g;
const MARKED: Readonly<Record<string, Category>> = {
  hate: "Hate",
  self_harm: "SelfHarm",
  sexual: "Sexual",
  violence: "Violence",
};

/** Whether a text holds `[[attack]]` or one of the attacks of the rules. */
export function isAttack(rules: ContentRules, content: string): boolean {
  const lower = content.toLowerCase();
  return content.includes(ATTACK_MARKER) || rules.attacks.some((attack) => lower.includes(attack.toLowerCase()));
}

/** The highest severity, 0 to 7, that markers (`[[hate 4]]`) and rules give a text. */
export function severityOf(rules: ContentRules, content: string, category: Category): number {
  const lower = content.toLowerCase();
  const marked = [...content.matchAll(SEVERITY_MARKER)]
    .filter(([, word = ""]) => MARKED[word] === category)
    .map(([, , severity]) => Number(severity));
  const ruled = rules.severities
    .filter((rule) => rule.category === category && lower.includes(rule.text.toLowerCase()))
    .map((rule) => rule.severity);
  return Math.max(0, ...marked, ...ruled);
}

/** The items of some blocklists that stand in a text, in any case. */
export function blocklistMatches(blocklists: readonly Blocklist[], content: string): Record<string, unknown>[] {
  const lower = content.toLowerCase();
  return blocklists.flatMap(({ name, items }) =>
    items
      .filter((item) => lower.includes(item.text.toLowerCase()))
      .map((item) => ({ blocklistName: name, blocklistItemId: item.id, blocklistItemText: item.text })),
  );
}
