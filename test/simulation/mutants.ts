/** A seeded bug: places in the product's source that are replaced when it is loaded. The product has no switch for it. */
export interface Mutant {
  readonly name: string;
  readonly patches: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
}

export const MUTANTS: readonly Mutant[] = [];

/** The mutant of a name; nothing for no name. Throws for an unknown one. */
export function findMutant(name: string | undefined): Mutant | undefined {
  if (name === undefined) return undefined;
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found) return found;
  const names = MUTANTS.map((mutant) => mutant.name).join(", ");
  throw new Error(`Cannot play mutant as its name must be one of ${names}: current value is ${name}`);
}
