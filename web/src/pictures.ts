/** Photos as the encoder takes them: upright, in sRGB, opaque, and shrunk where few bytes are to hold them. */

import type { Aim, Source } from "./encoder.ts";
import { OneDCError } from "./errors.ts";
import { SIDE_MAX, sized } from "./header.ts";

/** In so many bytes a picture looks best with up to so many pixels: the rule of Python's encoder. */
const LARGEST_PX = [[157, 34000], [233, 50000], [340, 66000], [512, 80000], [1000, 108000]] as const;
/** Beyond the ends of the table pixels grow with bytes ** EXPONENT. */
const EXPONENT = 0.8, WORTH = 0.75, LEAST_SIDE_PX = 32;
/** The side of the squares that each take one position of z. */
const SQUARE_PX = 64;
/** A picture none of whose y fits is shrunk by this much more, and again. */
export const STEP = 0.85;

/** Of a photo of a form that this browser has no decoder for. */
export const UNREADABLE = "this browser cannot read it as a picture; save it as JPEG or PNG first";

interface Reading {
  readonly background: string;
  readonly share: number;
  readonly maxPixels: number;
}

/**
 * A photo's pixels, transparent places over a CSS colour.
 *
 * `share` shrinks the longer side further, down to LEAST_SIDE_PX. Throws OneDCError for what the browser cannot read,
 * for several frames, and for more than `maxPixels` pixels.
 */
export async function readPhoto(photo: Blob, aim: Aim, { background, share, maxPixels }: Reading): Promise<Source> {
  await checkFrames(photo);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(photo);
  } catch {
    throw new OneDCError(UNREADABLE);
  }
  const { width, height } = bitmap;
  const best = "targetBytes" in aim ? longerSide(width, height, aim.targetBytes) : Math.max(width, height);
  const longer = Math.min(best, Math.max(LEAST_SIDE_PX, Math.round(share * best)));
  if (longer > SIDE_MAX) throw new OneDCError(`${width}x${height} pixels; no side may exceed ${SIDE_MAX}`);
  const [resizeWidth, resizeHeight] = sized(longer, [width, height]);
  if (resizeWidth * resizeHeight > maxPixels) {
    throw new OneDCError(`${resizeWidth}x${resizeHeight} pixels, more than the limit of ${maxPixels}; make it smaller`);
  }
  if (longer === Math.max(width, height)) return { ...drawn(bitmap, background), original: null };
  const smaller = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  return { ...drawn(smaller, background), original: [width, height] };
}

/** Throws OneDCError for an animation, as Python does, where the browser can tell. */
async function checkFrames(photo: Blob): Promise<void> {
  if (!("ImageDecoder" in globalThis) || !(await ImageDecoder.isTypeSupported(photo.type))) return;
  const decoder = new ImageDecoder({ data: photo.stream(), type: photo.type });
  await decoder.completed.catch(() => {});
  const frames = decoder.tracks.selectedTrack?.frameCount ?? 1;
  decoder.close();
  if (frames > 1) throw new OneDCError(`holds ${frames} frames, .1dc holds one; save one of them as a picture of its own`);
}

/** The longer side, in pixels, with which a picture of this size looks best in so many bytes. */
export function longerSide(width: number, height: number, targetBytes: number): number {
  const longer = Math.max(width, height), shorter = Math.min(width, height);
  const share = mostPixels(Math.max(targetBytes, 1)) / (width * height);
  if (share > WORTH) return longer;
  const most = Math.min(longer, Math.max(LEAST_SIDE_PX, Math.floor(longer * Math.sqrt(share))));
  const across = Math.floor(most / SQUARE_PX) * SQUARE_PX;
  const down = Math.floor(Math.floor((most * shorter) / longer) / SQUARE_PX) * SQUARE_PX;
  return Math.max(across, Math.floor((down * longer) / shorter)) || most;
}

/** See LARGEST_PX; between its bytes on straight lines of logarithms. */
function mostPixels(bytes: number): number {
  const last = LARGEST_PX.length - 1;
  const inside = Math.min(Math.max(bytes, LARGEST_PX[0]![0]), LARGEST_PX[last]![0]);
  const at = Math.max(1, LARGEST_PX.findIndex(([most]) => inside <= most));
  const [[lowBytes, low], [highBytes, high]] = [LARGEST_PX[at - 1]!, LARGEST_PX[at]!];
  const part = Math.log(inside / lowBytes) / Math.log(highBytes / lowBytes);
  return low * (high / low) ** part * (bytes / inside) ** EXPONENT;
}

function drawn(bitmap: ImageBitmap, background: string): Omit<Source, "original"> {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return { width, height, rgba: context.getImageData(0, 0, width, height).data as Source["rgba"] };
}
