/** Arithmetic on instants in UTC; there is no clock here. Instants are milliseconds since the Unix epoch. */
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** The start of the hour that holds `instantMs`. */
export function hourStart(instantMs: number): number {
  return Math.floor(instantMs / HOUR_MS) * HOUR_MS;
}

/** The hour as YYYYMMDDhh, the key of slots and boundaries. Throws on what is no instant. */
export function hourKey(instantMs: number): string {
  const date = new Date(instantMs);
  if (Number.isNaN(date.getTime())) throw new RangeError(`Cannot name the hour of what is no instant: ${instantMs}`);
  const [month, day, hour] = [date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours()];
  return `${date.getUTCFullYear()}${twoDigits(month)}${twoDigits(day)}${twoDigits(hour)}`;
}

function twoDigits(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/** The start of an hour from its key. Throws on anything but ten digits that name a real hour. */
export function parseHourKey(key: string): number {
  const [year, month, day, hour] = [key.slice(0, 4), key.slice(4, 6), key.slice(6, 8), key.slice(8)].map(Number);
  const instant = Date.UTC(year ?? NaN, (month ?? NaN) - 1, day, hour);
  if (!Number.isNaN(instant) && hourKey(instant) === key) return instant;
  throw new Error(
    `Cannot read hour as it must be YYYYMMDDhh in UTC: current value is ${JSON.stringify(key.slice(0, 40))}`,
  );
}

/** RFC 3339 in UTC with a `Z`. */
export function toIso(instantMs: number): string {
  return new Date(instantMs).toISOString();
}

/** The hour that lies `hours` after (or, negative, before) another. */
export function shiftHour(hour: string, hours: number): string {
  return hourKey(parseHourKey(hour) + hours * HOUR_MS);
}

/** The UTC day of an hour as YYYYMMDD. */
export function dayOf(hour: string): string {
  return hour.slice(0, 8);
}

/** How long a period lasts. Days are 24 hours. */
export type Per = "Day" | "Month" | "Year";

/**
 * The period that holds an instant, from `startMs` up to, not including, `endMs`. Period k starts at the **original**
 * anchor + k steps, never at the start of the period before: 31 Jan → 28 Feb → 31 Mar, yearly 29 Feb → 28 Feb → … → 29 Feb.
 */
export function periodAt(
  anchorMs: number,
  per: Per,
  instantMs: number,
): { readonly startMs: number; readonly endMs: number } {
  if (per === "Day") {
    const startMs = anchorMs + Math.floor((instantMs - anchorMs) / DAY_MS) * DAY_MS;
    return { startMs, endMs: startMs + DAY_MS };
  }
  const step = per === "Month" ? 1 : 12;
  const guess = Math.floor(monthsBetween(anchorMs, instantMs) / step);
  const k = addMonths(anchorMs, guess * step) <= instantMs ? guess : guess - 1;
  return { startMs: addMonths(anchorMs, k * step), endMs: addMonths(anchorMs, (k + 1) * step) };
}

/** Calendar months added in UTC; a day that the month lacks becomes its last (31 Jan + 1 = 28 or 29 Feb). */
function addMonths(instantMs: number, months: number): number {
  const from = new Date(instantMs);
  const target = from.getUTCFullYear() * 12 + from.getUTCMonth() + months;
  const year = Math.floor(target / 12);
  const month = target - year * 12;
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  const day = Math.min(from.getUTCDate(), lastDay);
  return Date.UTC(year, month, day) + (instantMs - Math.floor(instantMs / DAY_MS) * DAY_MS);
}

/** Whole calendar months from one instant's month to another's, days left aside. */
function monthsBetween(fromMs: number, toMs: number): number {
  const from = new Date(fromMs);
  const to = new Date(toMs);
  return (to.getUTCFullYear() - from.getUTCFullYear()) * 12 + to.getUTCMonth() - from.getUTCMonth();
}
