/** The rows of the first table under a heading, cells trimmed and without backticks; heading row and rule left out. */
export function tableUnder(page: string, heading: string): string[][] {
  const section = page.split(`\n${heading}\n`)[1];
  if (section === undefined) throw new Error(`Cannot find the heading ${heading}`);
  const table = /(?:^\|.*\|\n?)+/m.exec(section)?.[0] ?? "";
  return table
    .trim()
    .split("\n")
    .slice(2)
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.replaceAll("`", "").trim()),
    );
}

/** The first fenced block of a language under a heading. */
export function blockUnder(page: string, heading: string, language: string): string {
  const section = page.split(`\n${heading}\n`)[1] ?? "";
  const block = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(section)?.[1];
  if (block === undefined) throw new Error(`Cannot find a block of ${language} under ${heading}`);
  return block;
}
