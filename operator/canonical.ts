import { createHash } from "node:crypto";

/** JSON with sorted keys: equal values give equal text. Fields without a value are left out. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value));
}

/** SHA-256 in hex. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}

const DECIMAL = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"] as const;
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] as const;
const NANO_PER_UNIT = 1_000_000_000n;

/**
 * A quantity as the API server writes it (`1000m` → `1`, `0.5Gi` → `512Mi`), so that desired and live compare equal.
 * Anything that is no quantity, or has an exponent, is left as it is: the API server judges it.
 */
export function canonicalQuantity(text: string): string {
  const match = /^([0-9]+)(?:\.([0-9]{1,9}))?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/.exec(text);
  if (!match) return text;
  const [, whole = "0", fraction = "", suffix = ""] = match;
  const mantissaNano = BigInt(whole) * NANO_PER_UNIT + BigInt(fraction.padEnd(9, "0"));
  const binary = BINARY.findIndex((unit) => unit !== "" && unit === suffix);
  if (binary > 0) return formatBinary(mantissaNano * 1024n ** BigInt(binary));
  const power = DECIMAL.findIndex((unit) => unit === suffix) - 3;
  return formatDecimal(power < 0 ? mantissaNano / 1000n ** BigInt(-power) : mantissaNano * 1000n ** BigInt(power));
}

function formatBinary(nano: bigint): string {
  if (nano % NANO_PER_UNIT !== 0n || nano < 1024n * NANO_PER_UNIT) return formatDecimal(nano);
  let value = nano / NANO_PER_UNIT;
  let unit = 0;
  while (value % 1024n === 0n && value > 0n && unit < BINARY.length - 1) {
    value /= 1024n;
    unit += 1;
  }
  return `${value}${BINARY[unit] ?? ""}`;
}

function formatDecimal(nano: bigint): string {
  if (nano === 0n) return "0";
  let value = nano;
  let unit = 0;
  while (value % 1000n === 0n && unit < DECIMAL.length - 1) {
    value /= 1000n;
    unit += 1;
  }
  return `${value}${DECIMAL[unit] ?? ""}`;
}
