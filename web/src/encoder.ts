/** A picture to the bytes of a .1dc file. */

import type { Bytes } from "./digest.ts";
import type { Analysed, Engine } from "./engine.ts";
import { OneDCError } from "./errors.ts";
import type { Pixels } from "./float_maps.ts";
import { encodeIntegers, type Wanted } from "./integers.ts";
import { emptyMap, UNITS, Y_PX } from "./maps.ts";
import { highestWithin } from "./rate.ts";
import type { Weights } from "./weights.ts";

const MOST_VALUE = 30000;
/** From this quality byte on what lies wholly beyond the picture is coded as well; below, its means are taken. */
const BEYOND_FROM = 181;

/** How large a file is to be: by its quality, 0 to 100, or the highest quality whose file has at most so many bytes. */
export type Aim = { readonly quality: number } | { readonly targetBytes: number };

/** A picture to encode. */
export interface Source extends Pixels {
  /** Width and height before it was shrunk; null: it was not. */
  readonly original: readonly [number, number] | null;
}

/** What to encode, and how. */
export interface Encoding {
  readonly source: Source;
  readonly aim: Aim;
  /** Whether the file is to have a checksum. */
  readonly check: boolean;
}

/** A picture's file, with a checksum or without. Throws OneDCError where even the smallest is larger than it may be. */
export async function encodePixels(
  { source, aim, check }: Encoding, weights: Weights, engine: Engine,
): Promise<Bytes> {
  const analysed = await engine.analyse(source);
  if (!analysed.y.data.every(Number.isFinite)) throw new OneDCError("the picture's latents are not finite");
  const { width, height, original } = source;
  const write = (quality: number) => {
    const stated = { modelId: weights.modelId, quality, width, height, original };
    return encodeIntegers(stated, wanted(analysed, weights, quality, source), weights, { check });
  };
  if ("targetBytes" in aim) return highestWithin(write, weights.qualities, aim.targetBytes);
  return write(weights.qualities.length > 1 ? halfEven((255 * aim.quality) / 100) : 0);
}

function wanted({ y, zIdx }: Analysed, { seam }: Weights, quality: number, { width, height }: Source): Wanted {
  const [channels, rows, columns] = y.dims;
  const beyond = (at: number): boolean =>
    quality < BEYOND_FROM && ((at % columns) * Y_PX >= width || (Math.floor(at / columns) % rows) * Y_PX >= height);
  const units = emptyMap(channels, rows, columns);
  y.data.forEach((value, at) => (units.data[at] = halfEven(value * UNITS)));
  const levels = new Uint8Array(7 * zIdx.length).map((_, at) => {
    const index = Number(zIdx[at % zIdx.length]!);
    return (index >> (2 * Math.floor(at / zIdx.length))) & 3;
  });
  return {
    levels: { rows: rows / 4, columns: columns / 4, values: levels },
    value: (_, mean, part) =>
      Int32Array.from(seam.placed(units, part, quality), (gained, at) => {
        if (beyond(at)) return 0;
        const step = halfEven((gained - mean[at]!) / UNITS);
        return Math.min(MOST_VALUE, Math.max(-MOST_VALUE, step));
      }),
  };
}

/** Rounded, halves to the even integer. */
function halfEven(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}
