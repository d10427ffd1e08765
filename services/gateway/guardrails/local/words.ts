/** Finds any of a list of words in a text, each character looked at a bounded number of times (Aho and Corasick, 1975). */
export interface WordFinder {
  /** Whether one of the words stands in the text. `work` counts what it took. */
  readonly isIn: (text: string, work: Work) => boolean;
}

/** What a scan took, in steps of its loops: a test holds it against the length of the text. */
export interface Work {
  steps: number;
}

interface Node {
  readonly next: Map<number, Node>;
  /** Where the longest proper suffix that also begins a word goes on. */
  fail: Node | undefined;
  /** Lengths of the words that end here, in UTF-16 units, those of the suffixes included. */
  ends: readonly number[];
}

/** Letters and digits of scripts that put something between words: in others a word is found wherever it stands. */
const WORD_CHARACTER = /^(?!\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai})[\p{L}\p{N}]/u;

/** How texts and words are made comparable: compatible forms of characters are one (NFKC), and so are cases. */
export function foldWord(text: string): string {
  return text.normalize("NFKC").toLowerCase();
}

export function createWordFinder(words: readonly string[]): WordFinder {
  const root: Node = { next: new Map(), fail: undefined, ends: [] };
  for (const word of words.map((each) => foldWord(each).trim())) if (word !== "") add(root, word);
  link(root);
  return {
    isIn(text, work) {
      const folded = foldWord(text);
      let node = root;
      for (let at = 0; at < folded.length; at += 1) {
        node = step(node, folded.charCodeAt(at), { root, work });
        for (const length of node.ends) {
          work.steps += 1;
          if (isWhole(folded, at + 1 - length, at + 1)) return true;
        }
      }
      return false;
    },
  };
}

function add(root: Node, word: string): void {
  let node = root;
  for (let at = 0; at < word.length; at += 1) {
    const unit = word.charCodeAt(at);
    const next: Node = node.next.get(unit) ?? { next: new Map(), fail: undefined, ends: [] };
    node.next.set(unit, next);
    node = next;
  }
  if (!node.ends.includes(word.length)) node.ends = [...node.ends, word.length];
}

/** Breadth first, so that a suffix, which is shorter, is linked before what ends with it. */
function link(root: Node): void {
  const queue = [root];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    for (const [unit, child] of node.next) {
      child.fail = node === root ? root : step(node.fail ?? root, unit, { root, work: { steps: 0 } });
      child.ends = [...child.ends, ...child.fail.ends];
      queue.push(child);
    }
  }
}

function step(from: Node, unit: number, { root, work }: { readonly root: Node; readonly work: Work }): Node {
  let node: Node | undefined = from;
  while (node !== undefined) {
    work.steps += 1;
    const next = node.next.get(unit);
    if (next !== undefined) return next;
    node = node.fail;
  }
  return root;
}

/** Whether no word of the text goes on over the ends of a match. */
function isWhole(text: string, start: number, end: number): boolean {
  return !(isWordAt(text, start - 1) && isWordAt(text, start)) && !(isWordAt(text, end - 1) && isWordAt(text, end));
}

function isWordAt(text: string, at: number): boolean {
  return at >= 0 && at < text.length && WORD_CHARACTER.test(text.charAt(at));
}
