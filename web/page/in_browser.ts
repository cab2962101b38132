/** The page as any file server has it: the browser encodes and decodes. */

import { OneDCError } from "../src/errors.ts";
import { configure, decodeReport, encode, info, type Report } from "../src/index.ts";
import { UNREADABLE } from "../src/pictures.ts";
import { start } from "./page.ts";

/** Of the weights that the page was built with. */
declare const QUALITIES: number;

configure({ maxPixels: 16_000_000 }); // as `onedc serve` has it

start({
  by: "browser",
  isFast: false,

  async qualities() {
    return QUALITIES;
  },

  async encode(photo, aim, background, job) {
    const begun = performance.now();
    return { content: await encode(photo, aim, { ...job, background }), seconds: (performance.now() - begun) / 1000 };
  },

  async decode(data, { preview, fullSize, partial }, job) {
    const { originalWidth, originalHeight } = info(data);
    const report = await decodeReport(data, { ...job, preview, partial });
    const { backend, threads, integersMs, networksMs, note } = report;
    return {
      content: await painted(report, fullSize && originalWidth && originalHeight ? [originalWidth, originalHeight] : null),
      seconds: (integersMs + networksMs) / 1000,
      note,
      by: backend === "webgpu" ? "on the graphics card" : `on ${threads} thread${threads > 1 ? "s" : ""}`,
    };
  },

  async shown() {
    throw new OneDCError(UNREADABLE);
  },
});

/** A PNG of decoded pixels, resampled to a size if there is one. */
async function painted({ width, height, rgba }: Report, size: [number, number] | null): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  if (!size) return canvas.convertToBlob();
  const large = new OffscreenCanvas(...size), context = large.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, ...size);
  return large.convertToBlob();
}
