/** CRCs and SHA-256. The browser's own SHA-256 is missing on pages that come by plain HTTP from another machine. */

export type Bytes = Uint8Array<ArrayBuffer>;

const CRC32 = Int32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** The CRC-32 of zlib and PNG over several pieces; 0 to 2^32 - 1. */
export function crc32(pieces: readonly Uint8Array[]): number {
  let crc = -1;
  for (const piece of pieces) {
    for (const byte of piece) crc = CRC32[(crc ^ byte) & 255]! ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** CRC-8/SAE-J1850 over several pieces: polynomial 0x1D, highest bit first, all ones before and inverted behind. */
export function crc8(pieces: readonly Uint8Array[]): number {
  let crc = 0xff;
  for (const piece of pieces) {
    for (const byte of piece) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x11d) & 0xff : crc << 1;
    }
  }
  return crc ^ 0xff;
}

/** The first 32 bits behind the point of the roots of the first primes, and of a SHA-256's start. */
function fractions(count: number, root: (prime: number) => number): Int32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  return Int32Array.from(primes, (prime) => ((root(prime) % 1) * 2 ** 32) | 0);
}

const ROUNDS = fractions(64, Math.cbrt);
const START = fractions(8, Math.sqrt);

/** SHA-256 of pieces that come one after the other. */
export class Sha256 {
  private readonly state = START.slice();
  private readonly words = new Int32Array(64);
  private readonly block = new Uint8Array(64);
  private used = 0;
  private length = 0;

  update(piece: Uint8Array): this {
    this.length += piece.length;
    for (let at = 0; at < piece.length; ) {
      const count = Math.min(64 - this.used, piece.length - at);
      this.block.set(piece.subarray(at, at + count), this.used);
      this.used += count;
      at += count;
      if (this.used === 64) this.compress();
    }
    return this;
  }

  /** The 32 bytes; nothing may be added afterwards. */
  digest(): Bytes {
    const bits = 8 * this.length;
    const padding = new Uint8Array(((119 - (this.length % 64)) % 64) + 1 + 8);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits % 2 ** 32);
    this.update(padding);
    const out = new DataView(new ArrayBuffer(32));
    this.state.forEach((word, index) => out.setInt32(4 * index, word));
    return new Uint8Array(out.buffer);
  }

  private compress(): void {
    const { words, state } = this;
    const view = new DataView(this.block.buffer);
    for (let i = 0; i < 16; i++) words[i] = view.getInt32(4 * i);
    for (let i = 16; i < 64; i++) {
      const a = words[i - 15]!, b = words[i - 2]!;
      const small = turned(a, 7) ^ turned(a, 18) ^ (a >>> 3);
      const large = turned(b, 17) ^ turned(b, 19) ^ (b >>> 10);
      words[i] = words[i - 16]! + small + words[i - 7]! + large;
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      const one = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[i]! + words[i]!) | 0;
      const two = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, index) => (state[index] = state[index]! + word));
    this.used = 0;
  }
}

function turned(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

/** SHA-256 of one piece. */
export function sha256(data: Uint8Array): Bytes {
  return new Sha256().update(data).digest();
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Bytes from pairs of hexadecimal digits; null for anything else. */
export function fromHex(text: string): Bytes | null {
  if (text.length % 2 || /[^0-9a-f]/i.test(text)) return null;
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
