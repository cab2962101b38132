/** The exact part of a decoder: a file to its integers, the same everywhere. Knows no float network. */

import { MAX_PIXELS, pack, unpack, type Contents } from "./container.ts";
import type { Bytes } from "./digest.ts";
import { FormatError } from "./errors.ts";
import type { Stated } from "./header.ts";
import type { LevelCode, Levels } from "./levels.ts";
import { UNITS, type FeatureMap } from "./maps.ts";
import { RangeDecoder } from "./range_decoder.ts";
import { RangeEncoder } from "./range_encoder.ts";
import { PARTS, type Code, type Hyper } from "./seam.ts";
import { codePart, loadTables, type Tables } from "./tables.ts";

export { info, MAX_PIXELS, type FileInfo } from "./container.ts";
export { FormatError, OneDCError, WeightsError } from "./errors.ts";
export { sha256, toHex } from "./digest.ts";
export { uniformLevels } from "./levels.ts";
export { Weights } from "./weights.ts";

/** Whose files are read: `Weights` is one. */
export interface Model {
  readonly modelId: number;
  readonly fingerprint: Bytes;
  readonly levels: LevelCode;
  readonly seam: {
    hyper(levels: Levels): Hyper;
    scan(features: FeatureMap, quality: number, code: Code): FeatureMap;
  };
}

/** A map of floats, channel by channel, row by row. */
export interface FloatMap {
  readonly dims: readonly [channels: number, rows: number, columns: number];
  readonly data: Float32Array<ArrayBuffer>;
}

/** What the float networks draw the picture from, and what it was made of. */
export interface Integers {
  readonly contents: Contents;
  /** The quality byte that the networks are told: the file's, or 0 in a preview. */
  readonly quality: number;
  readonly levels: Levels;
  /** Of the four parts; none in a file without y. */
  readonly tables: readonly Uint8Array[];
  readonly values: readonly Int32Array[];
  /** On 4h x 4w places. */
  readonly yHat: FloatMap;
  /** On h x w places. */
  readonly semantic: FloatMap;
  /** How many of the four parts of y were read. */
  readonly parts: number;
}

export interface DecodeOptions {
  /** Pixels of the largest picture. */
  readonly maxPixels?: number;
  /** Read z alone: the semantic layer, which the file begins with. */
  readonly preview?: boolean;
  /** Read a file that is cut anywhere behind z, unverified: z and the parts of y that are whole. */
  readonly partial?: boolean;
}

/** Read a file. Throws FormatError. */
export async function decodeIntegers(data: Bytes, model: Model, options: DecodeOptions = {}): Promise<Integers> {
  const { maxPixels = MAX_PIXELS, preview = false, partial = false } = options;
  const { modelId, fingerprint, levels: levelCode, seam } = model;
  const contents = unpack(data, { modelId, fingerprint, leastMillibits: levelCode.leastMillibits, maxPixels, partial });
  const entropyTables = await loadTables();
  const { width, height, quality: stated } = contents.header;
  const decoder = new RangeDecoder(contents.payload);
  const levels = levelCode.code(decoder, Math.ceil(height / 64), Math.ceil(width / 64));
  if (partial && stated) decoder.checkCut();
  else if (partial) decoder.finish();
  const tables: Uint8Array[] = [], values: Int32Array[] = [];
  let quality = preview ? 0 : stated, parts = 0;
  const code: Code = (indices) => {
    const isNext = quality > 0 && parts === values.length;
    const read = isNext ? readPart(decoder, entropyTables, indices, parts, partial) : null;
    if (read) parts++;
    const part = read ?? new Int32Array(indices.length);
    tables.push(indices);
    values.push(part);
    return part;
  };
  const { features, semantic } = seam.hyper(levels);
  let yHat = seam.scan(features, quality, code);
  if (quality && !parts) yHat = seam.scan(features, (quality = 0), (_, __, part) => values[part]!);
  if (!preview && !partial) decoder.finish();
  return { contents, quality, levels, tables, values, yHat: toFloats(yHat), semantic: toFloats(semantic), parts };
}

/** The values of a part; null where the file is `cut` before its end. Throws FormatError where it may not be. */
function readPart(decoder: RangeDecoder, tables: Tables, indices: Uint8Array, part: number, cut: boolean): Int32Array | null {
  if (!cut) return codePart(decoder, tables, indices);
  try {
    const values = codePart(decoder, tables, indices);
    if (part < PARTS - 1) decoder.checkCut();
    else decoder.finish();
    return values;
  } catch (error) {
    if (error instanceof FormatError) return null;
    throw error;
  }
}

function toFloats({ channels, rows, columns, data }: FeatureMap): FloatMap {
  return { dims: [channels, rows, columns], data: Float32Array.from(data, (value) => value / UNITS) };
}

/** What an encoder codes: levels of z, and the values of part k of y by their tables and means. */
export interface Wanted {
  readonly levels: Levels;
  value(tables: Uint8Array, mean: Float64Array, part: number): Int32Array;
}

/** The file of integers, with a checksum or without: the inverse of `decodeIntegers`. Throws FormatError. */
export async function encodeIntegers(
  stated: Stated, { levels, value }: Wanted, model: Model, { check = true } = {},
): Promise<Bytes> {
  const entropyTables = await loadTables();
  const encoder = new RangeEncoder();
  model.levels.code(encoder, levels.rows, levels.columns, levels.values);
  if (stated.quality) {
    const { features } = model.seam.hyper(levels);
    model.seam.scan(features, stated.quality, (indices, mean, part) =>
      codePart(encoder, entropyTables, indices, value(indices, mean, part)),
    );
  }
  return pack(stated, encoder.finish(), model.fingerprint, check);
}
