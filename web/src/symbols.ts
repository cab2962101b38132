/** What is coded: symbols by models. Readers and writers of a payload share the walk over them. */

/** left_0 to left_n of a model of n symbols, in units of 2^-24: section 3.1 of docs/format.md. */
export type Edges = Int32Array;

/** Takes symbols one after the other. */
export interface SymbolCoder {
  /** Write `wanted` and return it, or read a symbol, whatever is wanted. Readers throw FormatError. */
  symbol(edges: Edges, wanted: number): number;
}

export const TOTAL = 1 << 24;

/** The edges of a table by its cumulative frequencies cum_0 = 0 to cum_n = 65536. */
export function edgesOf(cum: ArrayLike<number>): Edges {
  const n = cum.length - 1;
  return Int32Array.from({ length: n + 1 }, (_, i) => Math.floor((cum[i]! * (TOTAL - n)) / 65536) + i);
}

/** The edges of a digit of base 4. */
export const DIGIT: Edges = Int32Array.from([0, 1, 2, 3, 4], (i) => i * (TOTAL / 4));
