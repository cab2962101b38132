/** What stands in the sections: section 2 of docs/format.md. */

import { ALPHA, EXIF, PROFILE, type Contents } from "./container.ts";
import type { Bytes } from "./digest.ts";
import { FormatError } from "./errors.ts";
import { inflate } from "./inflate.ts";

const MOST_BYTES = 4194304;

/**
 * The opacity [height, width] of a file, 0 clear to 255; null where it has none.
 *
 * Profile and EXIF are checked and left aside. Throws FormatError where a section is damaged.
 */
export async function readAlpha({ header, sections }: Contents): Promise<Uint8Array | null> {
  for (const [id, name] of [[PROFILE, "ICC profile"], [EXIF, "EXIF"]] as const) {
    const body = sections.get(id);
    if (body) await inflated(body, name, MOST_BYTES);
  }
  const body = sections.get(ALPHA);
  if (!body) return null;
  const depth = body[0];
  if (depth !== 1 && depth !== 8) {
    throw new FormatError("the file's alpha section is damaged: its bit depth is neither 1 nor 8");
  }
  const row = 1 + Math.ceil((header.width * depth) / 8);
  const rows = await inflated(body.subarray(1), "alpha", header.height * row);
  if (rows.length !== header.height * row) throw new FormatError("the file's alpha section is damaged");
  unfilter(rows, row);
  const plane = new Uint8Array(header.width * header.height);
  for (let y = 0; y < header.height; y++) {
    for (let x = 0; x < header.width; x++) {
      const byte = rows[y * row + 1 + (depth === 8 ? x : x >> 3)]!;
      plane[y * header.width + x] = depth === 8 ? byte : 255 * ((byte >> (7 - (x & 7))) & 1);
    }
  }
  return plane;
}

async function inflated(body: Bytes, name: string, most: number): Promise<Bytes> {
  const content = await inflate(body, "deflate-raw", most);
  if (!content) throw new FormatError(`the file's ${name} section is damaged, or holds more than ${most} bytes`);
  return content;
}

/** Undo PNG's filters of grey rows, each of `row` bytes with its filter type in front. */
function unfilter(rows: Bytes, row: number): void {
  for (let start = 0; start < rows.length; start += row) {
    const type = rows[start]!;
    if (type > 4) throw new FormatError("the file's alpha section is damaged");
    for (let at = start + 1; at < start + row; at++) {
      const left = at > start + 1 ? rows[at - 1]! : 0;
      const above = start ? rows[at - row]! : 0;
      const corner = start && at > start + 1 ? rows[at - row - 1]! : 0;
      const guesses = [0, left, above, (left + above) >> 1, paeth(left, above, corner)];
      rows[at] = rows[at]! + guesses[type]!;
    }
  }
}

function paeth(left: number, above: number, corner: number): number {
  const guess = left + above - corner;
  const far = [left, above, corner].map((value) => Math.abs(guess - value)) as [number, number, number];
  if (far[0] <= far[1] && far[0] <= far[2]) return left;
  return far[1] <= far[2] ? above : corner;
}
