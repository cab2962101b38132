/** A whole codec: weights, exact integers and float networks. */

import { noteOf } from "./container.ts";
import type { Bytes } from "./digest.ts";
import { encodePixels, type Encoding } from "./encoder.ts";
import { Engine } from "./engine.ts";
import { OneDCError, WeightsError, oneLine } from "./errors.ts";
import type { Pixels } from "./float_maps.ts";
import { decodeIntegers, type DecodeOptions } from "./integers.ts";
import type { RuntimeOptions } from "./runtime.ts";
import { readAlpha } from "./sections.ts";
import { Weights } from "./weights.ts";

/** A decoded picture and how long it took. */
export interface Decoded extends Pixels {
  /** Milliseconds of the exact integers and of the float networks. */
  readonly integersMs: number;
  readonly networksMs: number;
  /** What everyone who looks at the picture should know. */
  readonly note: string;
}

export class Codec {
  readonly engine: Engine;
  private readonly weights: Weights;
  private readonly url: string;

  private constructor(weights: Weights, engine: Engine, url: string) {
    this.weights = weights;
    this.engine = engine;
    this.url = url;
  }

  /** The codec of a weights file at an address. Throws WeightsError. */
  static async load(url: string, options: RuntimeOptions): Promise<Codec> {
    return about(url, async () => {
      const weights = new Weights(await fetched(url));
      return new Codec(weights, await Engine.of(weights, options), url);
    });
  }

  /** Throws FormatError. */
  async decode(data: Bytes, options: DecodeOptions): Promise<Decoded> {
    const start = performance.now();
    const integers = await decodeIntegers(data, this.weights, options);
    const { contents: { header }, quality, parts } = integers;
    const alpha = await readAlpha(integers.contents);
    const middle = performance.now();
    const pixels = await this.engine.draw(integers);
    alpha?.forEach((opacity, at) => (pixels.rgba[4 * at + 3] = opacity));
    const verified = !options.partial && header.form !== "unchecked";
    const note = noteOf(header, quality, { parts, verified });
    return { ...pixels, note, integersMs: middle - start, networksMs: performance.now() - middle };
  }

  /** Throws OneDCError where the picture does not fit. The encoder's weights may lie in a file beside the others. */
  async encode(encoding: Encoding): Promise<Bytes> {
    if (!this.weights.encodes) {
      const beside = new URL("encoder.safetensors", this.url).href;
      await about(beside, async () => this.weights.add(await fetched(beside)));
    }
    return encodePixels(encoding, this.weights, this.engine);
  }
}

/** What `work` gives; its errors name the address of the weights that it is about. */
async function about<T>(url: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof OneDCError ? new WeightsError(`${url}: ${error.message}`) : error;
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
