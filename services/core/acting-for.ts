/**
 * The value of ACTING_FOR_HEADER. A principal may be any text; a header may not: everything outside printable ASCII, and
 * `%` itself, is percent-encoded as UTF-8. Usual principals ("alice@contoso.com") look the same on both sides.
 */
export function encodeActingFor(principal: string): string {
  return principal.replace(/[^\x21-\x24\x26-\x7e]/gu, (character) => encodeURIComponent(character.toWellFormed()));
}

/** The principal in a header's value, or nothing when the value is no encoding or longer than allowed. */
export function decodeActingFor(value: string): string | undefined {
  if (value.length === 0 || value.length > ACTING_FOR_CHARACTERS_MAX || !/^[\x21-\x7e]+$/.test(value)) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

const ACTING_FOR_CHARACTERS_MAX = 4096;
