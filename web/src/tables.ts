/** The frozen tables that y is coded with, and how y's values are coded by them: sections 4.3 and 4.4. */

import packed from "../../src/onedc/entropy/tables.npz";
import { fromHex, sha256, toHex, type Bytes } from "./digest.ts";
import { FormatError, WeightsError } from "./errors.ts";
import { inflate } from "./inflate.ts";
import { DIGIT, edgesOf, type Edges, type SymbolCoder } from "./symbols.ts";

const CDF_SHA256 = "681191522681e23feb2d9a5f05c3bd0c17d225e377aa7e681a6f73e6b35fbf3d";
const COUNT = 256, ENTRIES = 103;
const MOST_DIGITS = 8, MOST_VALUE = 30000;

/** What all models' fingerprints cover beside their own integers. */
export const TABLES_DIGEST: Bytes = fromHex(CDF_SHA256)!;

/** A model for each of the 256 tables; its last symbol is the escape. */
export type Tables = readonly Edges[];

let loading: Promise<Tables> | undefined;

/** The tables of the format. */
export function loadTables(): Promise<Tables> {
  loading ??= unpackTables();
  return loading;
}

async function unpackTables(): Promise<Tables> {
  const array = await memberOf(packed, "cdf.npy");
  const values = array?.slice(array.length - 4 * COUNT * ENTRIES);
  if (!values || toHex(sha256(values)) !== CDF_SHA256) throw new WeightsError("the tables of y are damaged: build anew");
  const cdf = new Int32Array(values.buffer);
  return Array.from({ length: COUNT }, (_, i) => {
    const row = cdf.subarray(i * ENTRIES, (i + 1) * ENTRIES);
    return edgesOf(row.subarray(0, row.indexOf(65536) + 1));
  });
}

/** The deflated member of a zip archive; null where there is none. */
async function memberOf(archive: Bytes, name: string): Promise<Bytes | null> {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.length);
  const end = archive.length - 22;
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const nameLength = view.getUint16(at + 28, true);
    const start = view.getUint32(at + 42, true);
    const found = new TextDecoder().decode(archive.subarray(at + 46, at + 46 + nameLength));
    if (found === name) {
      const data = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
      const body = archive.subarray(data, data + view.getUint32(at + 20, true));
      return inflate(body, "deflate-raw", view.getUint32(at + 24, true));
    }
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return null;
}

/**
 * The values of one part that a reader finds, or those `wanted`, written; `indices` names the table of each.
 *
 * Readers throw FormatError.
 */
export function codePart(coder: SymbolCoder, tables: Tables, indices: Uint8Array, wanted?: Int32Array): Int32Array {
  const values = new Int32Array(indices.length);
  const escaped: number[] = [];
  for (const at of byTable(indices)) {
    const edges = tables[indices[at]!]!;
    const escape = edges.length - 2, c = (escape - 1) / 2;
    const value = wanted?.[at] ?? 0;
    const symbol = coder.symbol(edges, Math.abs(value) <= c ? value + c : escape);
    if (symbol === escape) escaped.push(at);
    else values[at] = symbol - c;
  }
  const limits = escaped.map((at) => (tables[indices[at]!]!.length - 3) / 2);
  const folded = escaped.map((at, i) => (wanted ? fold(wanted[at]!, limits[i]!) : 0));
  codeEscapes(coder, folded).forEach((r, i) => {
    const value = r % 2 ? -(r + 1) / 2 - limits[i]! : r / 2 + limits[i]! + 1;
    if (Math.abs(value) > MOST_VALUE) throw new FormatError(`the coded data is damaged: a symbol is beyond ${MOST_VALUE}`);
    values[escaped[i]!] = value;
  });
  return values;
}

/** A value beyond -c to c as an integer from 0. */
function fold(value: number, c: number): number {
  return value < -c ? -2 * (value + c) - 1 : 2 * (value - c - 1);
}

/** The places of a part in the order of their tables. */
function byTable(indices: Uint8Array): Int32Array {
  const next = new Int32Array(COUNT + 1);
  for (const table of indices) next[table + 1]!++;
  for (let table = 0; table < COUNT; table++) next[table + 1] = next[table + 1]! + next[table]!;
  const order = new Int32Array(indices.length);
  for (let at = 0; at < indices.length; at++) order[next[indices[at]!]!++] = at;
  return order;
}

/** Integers from 0, as a reader finds them or as they are wanted: first how many digits they have, then the digits. */
function codeEscapes(coder: SymbolCoder, wanted: readonly number[]): number[] {
  const lengths = wanted.map((r) => (r ? Math.ceil(r.toString(2).length / 2) : 0));
  const digits = wanted.map(() => 0), values = digits.slice();
  for (let going = [...wanted.keys()]; going.length; ) {
    going = going.filter((i) => {
      const digit = coder.symbol(DIGIT, Math.min(lengths[i]! - digits[i]!, 3));
      digits[i]! += digit;
      return digit === 3;
    });
    if (Math.max(...digits) > MOST_DIGITS) throw new FormatError("the coded data is damaged: an escape is too long");
  }
  for (let k = 0; k < Math.max(0, ...digits); k++) {
    digits.forEach((length, i) => {
      if (length <= k) return;
      const digit = coder.symbol(DIGIT, Math.floor(wanted[i]! / 4 ** k) % 4);
      if (digit === 0 && length === k + 1) {
        throw new FormatError("the coded data is damaged: it is not what an encoder writes");
      }
      values[i]! += digit * 4 ** k;
    });
  }
  return values;
}
