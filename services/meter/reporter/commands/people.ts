import type { Flags } from "./flags.ts";

/** Who decided, and why: both end in the books. */
export const PEOPLE_FLAGS: Flags = {
  by: {
    allowed: "the name of who decides, 1 to 80 characters",
    accepts: (value) => isText(value, 80),
    required: true,
  },
  reason: {
    allowed: "the reason in words, 1 to 300 characters on one line",
    accepts: (value) => isText(value, 300),
    required: true,
  },
};

export const DIMENSION_FLAG = {
  allowed: "a Marketplace dimension such as tool_action",
  accepts: (value: string) => /^[a-z][a-z0-9_]{0,62}$/.test(value),
  required: true,
};

function isText(value: string, max: number): boolean {
  return value.trim() !== "" && value.length <= max && !/\p{Cc}/u.test(value);
}
