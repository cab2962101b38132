/** The range coder's writing side: section 3 of docs/format.md. */

import type { Bytes } from "./digest.ts";
import type { Edges, SymbolCoder } from "./symbols.ts";

const WORD = 1n << 32n, STATE = 1n << 64n;

/** Narrows an interval symbol by symbol. `size` is that of section 3.2; `low` is kept as words and 64 bits. */
export class RangeEncoder implements SymbolCoder {
  /** Words of `low` that are settled but for a carry. */
  private readonly words: number[] = [];
  private low = 0n;
  private size = STATE - 1n;

  symbol(edges: Edges, wanted: number): number {
    const left = edges[wanted]!, scale = this.size >> 24n;
    this.low += scale * BigInt(left);
    this.size = scale * BigInt(edges[wanted + 1]! - left);
    if (this.low >= STATE) {
      this.low -= STATE;
      this.carry();
    }
    if (this.size < WORD) {
      this.words.push(Number(this.low >> 32n));
      this.low = (this.low % WORD) * WORD;
      this.size *= WORD;
    }
    return wanted;
  }

  /** The payload of all symbols: section 3.3. */
  finish(): Bytes {
    const bits = 32 * this.words.length + 64;
    const settled = this.words.map((word) => word.toString(16).padStart(8, "0")).join("");
    const low = BigInt(`0x0${settled}`) * STATE + this.low;
    const most = Math.ceil((bits - this.size.toString(2).length + 1) / 8);
    for (let count = Math.max(0, most - 1); ; count++) {
      const unit = 1n << BigInt(bits - 8 * count);
      const first = (low + unit - 1n) / unit;
      if (first * unit < low + this.size) return bytesOf(first, count);
    }
  }

  private carry(): void {
    let last = this.words.length - 1;
    for (; this.words[last] === 0xffffffff; last--) this.words[last] = 0;
    this.words[last]!++;
  }
}

/** A number in so many bytes, the highest first. */
function bytesOf(value: bigint, count: number): Bytes {
  const digits = count ? value.toString(16).padStart(2 * count, "0") : "";
  return Uint8Array.from({ length: count }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}
