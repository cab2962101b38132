/** A whole codec: weights, exact integers and float networks. */

import { noteOf } from "./container.ts";
import type { Bytes } from "./digest.ts";
import { encodePixels, type Encoding } from "./encoder.ts";
import { Engine } from "./engine.ts";
import { OneDCError, WeightsError, oneLine } from "./errors.ts";
import type { Pixels } from "./float_maps.ts";
import { joined } from "./inflate.ts";
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

/** How many bytes of a file have arrived. */
export interface Arrived {
  readonly bytes: number;
  /** Of the whole file, at the latest when it is there; null: the server does not say. */
  readonly total: number | null;
}

export type OnLoading = (arrived: Arrived) => void;

export class Codec {
  readonly engine: Engine;
  private readonly weights: Weights;
  private readonly url: string;

  private readonly onLoading: OnLoading;

  private constructor(weights: Weights, engine: Engine, url: string, onLoading: OnLoading) {
    this.weights = weights;
    this.engine = engine;
    this.url = url;
    this.onLoading = onLoading;
  }

  /** How many qualities lead to different files. */
  get qualities(): number {
    return this.weights.qualities.length;
  }

  /** The codec of a weights file at an address. Throws WeightsError. */
  static async load(url: string, options: RuntimeOptions, onLoading: OnLoading): Promise<Codec> {
    return about(url, async () => {
      const weights = new Weights(await fetched(url, onLoading));
      return new Codec(weights, await Engine.of(weights, options), url, onLoading);
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
      await about(beside, async () => this.weights.add(await fetched(beside, this.onLoading)));
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
export async function fetched(url: string, onLoading: OnLoading = () => {}): Promise<Bytes> {
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new OneDCError(`${answer.status} ${answer.statusText}`.trim());
    const isPacked = answer.headers.has("Content-Encoding"); // its length is then that of what is sent
    const total = isPacked ? null : Number(answer.headers.get("Content-Length")) || null;
    const pieces: Bytes[] = [];
    let bytes = 0;
    for (const reader = answer.body!.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) {
        onLoading({ bytes, total: bytes });
        return joined(pieces, bytes);
      }
      pieces.push(value);
      onLoading({ bytes: (bytes += value.length), total });
    }
  } catch (error) {
    throw new OneDCError(`cannot be fetched: ${oneLine(error)}`);
  }
}
