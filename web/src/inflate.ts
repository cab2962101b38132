/** Deflate streams by the browser's own decompressor, with a limit on what comes out. */

import type { Bytes } from "./digest.ts";

/**
 * The content of a whole stream; null where it is damaged, ends early, leaves bytes over or holds more than `most`.
 *
 * @param format "deflate-raw" without a frame, "deflate" in that of zlib
 */
export async function inflate(packed: Bytes, format: CompressionFormat, most: number): Promise<Bytes | null> {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return joined(pieces, size);
      pieces.push(value);
      size += value.length;
      if (size > most) {
        await reader.cancel();
        return null;
      }
    }
  } catch {
    return null;
  }
}

/** Pieces one after the other. */
export function joined(pieces: readonly Uint8Array[], size: number): Bytes {
  const out = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
