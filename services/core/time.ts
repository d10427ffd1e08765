/** Arithmetic on instants in UTC; there is no clock here. Instants are milliseconds since the Unix epoch. */
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** The start of the hour that holds `instantMs`. */
export function hourStart(instantMs: number): number {
  return Math.floor(instantMs / HOUR_MS) * HOUR_MS;
}

/** The hour as YYYYMMDDhh, the key of slots and boundaries. */
export function hourKey(instantMs: number): string {
  return new Date(hourStart(instantMs)).toISOString().replace(/[-T]/g, "").slice(0, 10);
}

/** The start of an hour from its key. Throws on anything but ten digits that name a real hour. */
export function parseHourKey(key: string): number {
  const match = /^(\d{4})(\d{2})(\d{2})(\d{2})$/.exec(key);
  if (match) {
    const instant = Date.parse(`${match[1]}-${match[2]}-${match[3]}T${match[4]}:00:00Z`);
    if (!Number.isNaN(instant) && hourKey(instant) === key) return instant;
  }
  throw new Error(
    `Cannot read hour as it must be YYYYMMDDhh in UTC: current value is ${JSON.stringify(key.slice(0, 40))}`,
  );
}

/** RFC 3339 in UTC with a `Z`. */
export function toIso(instantMs: number): string {
  return new Date(instantMs).toISOString();
}
