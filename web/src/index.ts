/** Opens and makes .1dc pictures in the browser. */

import { decodeReport, type DecodeOptions } from "./client.ts";
import type { Bytes } from "./digest.ts";

export { configure, decodeReport, encode, type DecodeOptions, type EncodeOptions, type Following } from "./client.ts";
export type { Arrived } from "./codec.ts";
export { info, MAX_PIXELS, type FileInfo } from "./container.ts";
export { defineElement, OneDCImage, showImages } from "./element.ts";
export { FormatError, OneDCError, WeightsError } from "./errors.ts";
export type { Aim } from "./encoder.ts";
export type { Report, Settings } from "./messages.ts";

/** The picture of a .1dc file. Throws OneDCError with one line that says what is wrong. */
export async function decode(data: Bytes, options: DecodeOptions = {}): Promise<ImageData> {
  const { rgba, width, height } = await decodeReport(data, options);
  return new ImageData(rgba, width, height);
}
