/** A whole decoder: weights, exact integers and float networks. */

import { MAX_PIXELS } from "./container.ts";
import type { Bytes } from "./digest.ts";
import { Engine } from "./engine.ts";
import { OneDCError, WeightsError, oneLine } from "./errors.ts";
import { decodeIntegers, type Integers } from "./integers.ts";
import type { RuntimeOptions } from "./runtime.ts";
import { readAlpha } from "./sections.ts";
import { Weights } from "./weights.ts";

/** A decoded picture and how long it took. */
export interface Decoded {
  readonly width: number;
  readonly height: number;
  /** RGBA, row by row. */
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
  /** Milliseconds of the exact integers and of the float networks. */
  readonly integersMs: number;
  readonly networksMs: number;
}

export class Decoder {
  readonly weights: Weights;
  readonly engine: Engine;

  private constructor(weights: Weights, engine: Engine) {
    this.weights = weights;
    this.engine = engine;
  }

  /** The decoder of a weights file at an address. Throws WeightsError. */
  static async load(url: string, options: RuntimeOptions): Promise<Decoder> {
    try {
      const weights = new Weights(await fetched(url));
      return new Decoder(weights, await Engine.of(weights, options));
    } catch (error) {
      throw error instanceof OneDCError ? new WeightsError(`${url}: ${error.message}`) : error;
    }
  }

  /** Throws FormatError. */
  async decode(data: Bytes, maxPixels = MAX_PIXELS): Promise<Decoded> {
    const start = performance.now();
    const integers = await decodeIntegers(data, this.weights, maxPixels);
    const middle = performance.now();
    const { width, height } = integers.contents.header;
    const rgba = await this.draw(integers);
    return { width, height, rgba, integersMs: middle - start, networksMs: performance.now() - middle };
  }

  private async draw(integers: Integers): Promise<Uint8ClampedArray<ArrayBuffer>> {
    const alpha = await readAlpha(integers.contents);
    const rgba = await this.engine.draw(integers);
    alpha?.forEach((opacity, at) => (rgba[4 * at + 3] = opacity));
    return rgba;
  }
}

/** The bytes at an address. Throws OneDCError. */
export async function fetched(url: string): Promise<Bytes> {
  let answer: Response;
  try {
    answer = await fetch(url);
  } catch (error) {
    throw new OneDCError(`cannot be fetched: ${oneLine(error)}`);
  }
  if (!answer.ok) throw new OneDCError(`cannot be fetched: ${answer.status} ${answer.statusText}`.trim());
  return new Uint8Array(await answer.arrayBuffer());
}
