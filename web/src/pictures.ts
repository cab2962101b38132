/** Photos as the encoder takes them: upright, in sRGB, opaque, and shrunk where few bytes are to hold them. */

import type { Aim, Source } from "./encoder.ts";
import { OneDCError } from "./errors.ts";
import { SIDE_MAX, sized } from "./header.ts";

/** In n bytes a picture looks best with PIXELS * n ** EXPONENT pixels: the rule of Python's encoder. */
const PIXELS = 430, EXPONENT = 0.8, WORTH = 0.75, LEAST_SIDE_PX = 32;
/** In fewer than FULL bytes with (FULL / n) ** MORE times as many; n counts as SCARCE at least. */
const FULL = 1000, SCARCE = 157, MORE = 0.18;
/** A picture none of whose y fits is shrunk by this much more, and again. */
export const STEP = 0.85;

/**
 * A photo's pixels, transparent places over a CSS colour.
 *
 * `share` shrinks the longer side further, down to LEAST_SIDE_PX. Throws OneDCError for what the browser cannot read.
 */
export async function readPhoto(photo: Blob, aim: Aim, background: string, share = 1): Promise<Source> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(photo);
  } catch {
    throw new OneDCError("this browser cannot read it as a picture");
  }
  const { width, height } = bitmap;
  const best = "targetBytes" in aim ? longerSide(width, height, aim.targetBytes) : Math.max(width, height);
  const longer = Math.min(best, Math.max(LEAST_SIDE_PX, Math.round(share * best)));
  if (longer > SIDE_MAX) throw new OneDCError(`${width}x${height} pixels; no side may exceed ${SIDE_MAX}`);
  if (longer === Math.max(width, height)) return { ...drawn(bitmap, background), original: null };
  const [resizeWidth, resizeHeight] = sized(longer, [width, height]);
  const smaller = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  return { ...drawn(smaller, background), original: [width, height] };
}

/** The longer side, in pixels, with which a picture of this size looks best in so many bytes. */
function longerSide(width: number, height: number, targetBytes: number): number {
  const more = (FULL / Math.min(Math.max(targetBytes, SCARCE), FULL)) ** MORE;
  const share = (more * PIXELS * Math.max(targetBytes, 1) ** EXPONENT) / (width * height);
  const longer = Math.max(width, height);
  if (share > WORTH) return longer;
  return Math.min(longer, Math.max(LEAST_SIDE_PX, Math.round(longer * Math.sqrt(share))));
}

function drawn(bitmap: ImageBitmap, background: string): Omit<Source, "original"> {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return { width, height, rgba: context.getImageData(0, 0, width, height).data as Source["rgba"] };
}
