/** How a text too long for one check is divided. All lengths are UTF-16 units: never fewer than code points. */
export interface SplitOptions {
  /** The longest part. */
  readonly partMax: number;
  /** What stands at a cut is seen whole in one part, up to this length. Less than half of `partMax`. */
  readonly overlap: number;
}

/**
 * Parts that together are the text; each two neighbours share at least `overlap` units, so that every piece of the text of at most that
 * length stands whole in one of them. No part begins or ends inside of a character. An empty text has no parts.
 */
export function splitText(text: string, { partMax, overlap }: SplitOptions): string[] {
  const parts: string[] = [];
  let start = 0;
  while (start < text.length) {
    const end = start + partMax >= text.length ? text.length : outOfPair(text, start + partMax);
    parts.push(text.slice(start, end));
    if (end === text.length) break;
    start = outOfPair(text, end - overlap);
  }
  return parts;
}

/** The place itself, or the one before it where it lies between the two halves of a character. */
function outOfPair(text: string, at: number): number {
  return isHalf(text, at - 1, 0xd800) && isHalf(text, at, 0xdc00) ? at - 1 : at;
}

function isHalf(text: string, at: number, first: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= first && unit < first + 0x400;
}
