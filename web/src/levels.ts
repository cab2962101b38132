/** z: seven levels of four values at each position, by the uniform code or the learned prior; section 4.2. */

import { WeightsError } from "./errors.ts";
import type { IntegerTensor } from "./safetensors.ts";
import { DIGIT, edgesOf, type Edges, type SymbolCoder } from "./symbols.ts";

/** Levels [7, rows, columns] of z, 0 to 3. */
export interface Levels {
  readonly rows: number;
  readonly columns: number;
  readonly values: Uint8Array;
}

/** Reads and writes the levels of a file. */
export interface LevelCode {
  /** What a position costs at least, in 1/1000 bits. */
  readonly leastMillibits: number;
  /** The levels that a reader finds, or those `wanted` [7, rows, columns], written. Readers throw FormatError. */
  code(coder: SymbolCoder, rows: number, columns: number, wanted?: Uint8Array): Levels;
}

const DEPTH = 7, OUTSIDE = 4;
const NEIGHBOURS = [[0, -2], [0, -1], [-1, -2], [-1, -1], [-1, 0], [-1, 1], [-2, 0]] as const;

/** The code of models without a prior: 14 bits a position. */
export const uniformLevels: LevelCode = {
  leastMillibits: 14000,
  code(coder, rows, columns, wanted) {
    const values = new Uint8Array(DEPTH * rows * columns);
    for (let position = 0; position < rows * columns; position++) {
      for (let at = position; at < values.length; at += rows * columns) values[at] = coder.symbol(DIGIT, wanted?.[at] ?? 0);
    }
    return { rows, columns, values };
  },
};

interface Position {
  readonly row: number;
  readonly column: number;
  /** s of section 4.2, for each hidden unit. */
  readonly sums: Float64Array;
}

/** The prior that a weights file holds. All sums stay below 2^47, so that floats hold them exactly. */
export class LearnedLevels implements LevelCode {
  readonly leastMillibits = 7;
  private readonly near: Float64Array;
  private readonly own: Float64Array;
  private readonly bias: Float64Array;
  private readonly out: Float64Array;
  private readonly outBias: Float64Array;

  /** `integers`: by name without their prefix. Throws WeightsError. */
  constructor(integers: ReadonlyMap<string, IntegerTensor>) {
    const hidden = integers.get("bias")?.shape[0] ?? 0;
    const take = (name: string, ...shape: number[]) => {
      const found = integers.get(name);
      if (!found || found.shape.join() !== shape.join() || hidden < 1 || hidden > 1024) {
        throw new WeightsError(`z prior: ${name} is missing or of another shape`);
      }
      return found.values;
    };
    this.near = take("near", NEIGHBOURS.length, DEPTH, OUTSIDE + 1, hidden);
    this.own = take("own", DEPTH - 1, 4, hidden);
    this.bias = take("bias", hidden);
    this.out = take("out", DEPTH, 4, hidden);
    this.outBias = take("out_bias", DEPTH, 4);
  }

  code(coder: SymbolCoder, rows: number, columns: number, wanted?: Uint8Array): Levels {
    const values = new Uint8Array(DEPTH * rows * columns);
    const levels = { rows, columns, values };
    for (let wave = 0; wave < columns + 2 * (rows - 1); wave++) {
      const positions: Position[] = [];
      for (let row = 0; row < rows; row++) {
        const column = wave - 2 * row;
        if (column >= 0 && column < columns) positions.push({ row, column, sums: this.seen(levels, row, column) });
      }
      for (let d = 0; d < DEPTH; d++) {
        for (const { row, column, sums } of positions) {
          const at = (d * rows + row) * columns + column;
          const level = coder.symbol(this.edges(sums, d), wanted?.[at] ?? 0);
          values[at] = level;
          if (d < DEPTH - 1) add(sums, this.own, 4 * d + level);
        }
      }
    }
    return levels;
  }

  /** The bias and the neighbours' share of s. */
  private seen({ rows, columns, values }: Levels, row: number, column: number): Float64Array {
    const sums = this.bias.slice();
    NEIGHBOURS.forEach(([down, across], i) => {
      const r = row + down, c = column + across;
      const inside = r >= 0 && c >= 0 && c < columns;
      for (let d = 0; d < DEPTH; d++) {
        const level = inside ? values[(d * rows + r) * columns + c]! : OUTSIDE;
        add(sums, this.near, (i * DEPTH + d) * (OUTSIDE + 1) + level);
      }
    });
    return sums;
  }

  private edges(sums: Float64Array, d: number): Edges {
    const logits = [0, 1, 2, 3].map((j) => {
      const start = (4 * d + j) * sums.length;
      let total = this.outBias[4 * d + j]!;
      for (let u = 0; u < sums.length; u++) if (sums[u]! > 0) total += sums[u]! * this.out[start + u]!;
      return Math.floor((total + 32768) / 65536);
    });
    const most = Math.max(...logits);
    const reached = [0];
    for (const logit of logits) {
      const b = Math.min(most - logit, 5120);
      reached.push(reached.at(-1)! + (((512 - (b & 255)) * 4096) >> (b >> 8)));
    }
    return edgesOf(reached.map((sum, j) => 16 * j + Math.floor((65472 * sum) / reached[4]!)));
  }
}

/** Add row `index` of a matrix to `sums`. */
function add(sums: Float64Array, matrix: Float64Array, index: number): void {
  const start = index * sums.length;
  for (let u = 0; u < sums.length; u++) sums[u] = sums[u]! + matrix[start + u]!;
}
