/** The quality for a number of bytes, as Python's encoder looks for it: by sizes of real files. */

import type { Bytes } from "./digest.ts";
import { OneDCError } from "./errors.ts";

/** Sections of y grow about exp(GROWTH) times from the lowest quality to the highest: where guesses begin. */
const GROWTH = 6.0;
/** Qualities tried before what is left is halved. */
const GUESSES = 8;
/** How far beyond the budget a guess aims, on the side that was not hit last, as a share of it. */
const BESIDE = 0.005;

/** The file of the highest of some qualities, lowest first, that has at most `most` bytes. Throws OneDCError where there is none. */
export async function highestWithin(
  write: (quality: number) => Promise<Bytes>, qualities: readonly number[], most: number,
): Promise<Bytes> {
  let best = await write(qualities[0]!), fits = 0, exceeds = qualities.length;
  if (best.length > most) throw new OneDCError(`the picture cannot fit in ${most} bytes: its smallest file has ${best.length}`);
  const sizes = new Map([[0, best.length]]);
  while (exceeds - fits > 1) {
    const guessed = sizes.size <= GUESSES ? guess(sizes, fits, exceeds, most, GROWTH / qualities.length) : (fits + exceeds) >> 1;
    const place = Math.min(Math.max(guessed, fits + 1), exceeds - 1);
    const file = await write(qualities[place]!);
    sizes.set(place, file.length);
    if (file.length > most) {
      exceeds = place;
    } else {
      fits = place;
      best = file;
    }
  }
  return best;
}

/**
 * About the place of the quality whose file has the target's size.
 *
 * What sizes have above the first grows nearly exponentially: by `slope` until two on either side are known.
 */
function guess(sizes: ReadonlyMap<number, number>, fits: number, exceeds: number, most: number, slope: number): number {
  if (sizes.size === 1) return Math.floor(exceeds / 2);
  const log = (place: number) => Math.log(Math.max(1, sizes.get(place)! - sizes.get(0)!));
  const between = fits && sizes.has(exceeds) ? (log(exceeds) - log(fits)) / (exceeds - fits) : 0;
  const near = fits || exceeds, last = [...sizes.keys()].at(-1);
  const beyond = last === fits ? BESIDE : -BESIDE;
  return Math.round(near + (Math.log(Math.max(1, most - sizes.get(0)!)) + beyond - log(near)) / (between || slope));
}
