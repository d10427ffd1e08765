/** The characters that give a JSON text its shape, in bytes of UTF-8 as in units of UTF-16. */
export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const OPEN_BRACKET = 0x5b;
export const CLOSE_BRACKET = 0x5d;

/** Deeper nesting is refused: it is no prompt but an attack on parsers behind us. */
export const DEPTH_MAX = 128;
