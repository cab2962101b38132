/** The range coder's reading side: section 3 of docs/format.md. */

import { TOTAL, type Edges, type SymbolCoder } from "./symbols.ts";
import { FormatError } from "./errors.ts";

const WORD = 1n << 32n;

/** Reads symbols of one payload. `above`, `size` and `bits` are those of section 3.2. */
export class RangeDecoder implements SymbolCoder {
  private readonly payload: Uint8Array;
  private above: bigint;
  private size = 0xffffffffffffffffn;
  private bits = 64;

  constructor(payload: Uint8Array) {
    this.payload = payload;
    this.above = BigInt(this.word(0)) * WORD + BigInt(this.word(4));
  }

  /** The next symbol. Throws FormatError where the payload names none, or has long ended. */
  symbol(edges: Edges): number {
    const scale = this.size >> 24n;
    const quantile = Number(this.above / scale);
    if (quantile >= TOTAL) throw new FormatError("the coded data is damaged: it points outside every symbol");
    let low = 0;
    for (let high = edges.length - 1; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if (edges[middle]! <= quantile) low = middle;
      else high = middle;
    }
    const left = edges[low]!;
    this.above -= scale * BigInt(left);
    this.size = scale * BigInt(edges[low + 1]! - left);
    if (this.size < WORD) {
      this.above = this.above * WORD + BigInt(this.word(this.bits / 8));
      this.size *= WORD;
      this.bits += 32;
      if (!this.reaches(this.unused() - 8)) throw new FormatError("the coded data ends too early");
    }
    return low;
  }

  /** Check that the payload is exactly what an encoder writes for the symbols read. Throws FormatError. */
  finish(): void {
    const unused = this.unused();
    if (!this.reaches(unused - 8)) throw new FormatError("the coded data ends too early");
    if (this.reaches(unused + 8)) throw new FormatError("bytes are left over behind the coded data");
    if (!this.reaches(unused)) return;
    const unit = 1n << BigInt(unused);
    const last = BigInt(this.payload[this.payload.length - 1] ?? 0);
    const period = unit * 256n;
    const below = (((this.above - last * unit) % period) + period) % period;
    if (this.above >= unit || below < this.size) {
      throw new FormatError("the coded data is damaged: it is not what an encoder writes");
    }
  }

  /** Check that a payload whose end was cut off fixes all that was read so far: section 3.4. Throws FormatError. */
  checkCut(): void {
    if (!this.reaches(this.unused() - 8)) throw new FormatError("the coded data ends too early");
    let missing = 0;
    while (!this.isFixed(missing)) missing++;
    if (missing) throw new FormatError(`the file is cut too early: ${missing} more bytes are needed for a preview`);
  }

  /** Whether the payload with so many bytes of zero behind it fixes what was read, however it goes on. */
  private isFixed(zeros: number): boolean {
    const free = this.unused() - 8 * zeros;
    return free <= 0 || this.above + (1n << BigInt(free)) <= this.size;
  }

  /** u of section 3.3; below 0 if the payload is longer than what was read of it. */
  private unused(): number {
    return this.bits - 8 * this.payload.length;
  }

  /** Whether 2^exponent is at most `size`. */
  private reaches(exponent: number): boolean {
    return exponent < 0 || this.size >> BigInt(exponent) > 0n;
  }

  private word(at: number): number {
    let word = 0;
    for (let i = at; i < at + 4; i++) word = word * 256 + (this.payload[i] ?? 0);
    return word;
  }
}
