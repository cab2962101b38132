/** The float networks of a light model: from pixels to what is coded, and from the integers of a file to pixels. */

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { bands } from "./bands.ts";
import { WeightsError } from "./errors.ts";
import { inSinglePrecision, metadataOf, withParameters } from "./graphs.ts";
import type { FloatMap, Integers } from "./integers.ts";
import { Runtime, hasGraphicsCard, type RuntimeOptions } from "./runtime.ts";
import type { Weights } from "./weights.ts";

/** RGBA, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

/** What the encoder's networks make of a picture. */
export interface Analysed {
  /** On 4h x 4w places. */
  readonly y: FloatMap;
  /** Codebook indices [h, w]. */
  readonly zIdx: BigInt64Array;
}

interface Net {
  readonly session: InferenceSession;
  /** Places that a place of the coarser map depends on to each side; NaN where the graph takes whole maps. */
  readonly halo: number;
}

export class Engine {
  readonly runtime: Runtime;
  private readonly weights: Weights;
  private readonly nets = new Map<string, Promise<Net>>();

  private constructor(weights: Weights, runtime: Runtime) {
    this.weights = weights;
    this.runtime = runtime;
  }

  /** Throws WeightsError for weights without graphs, or damaged ones. */
  static async of(weights: Weights, { backend, threads }: RuntimeOptions): Promise<Engine> {
    await weights.graph("latents"); // before anything large is fetched
    if (backend === "wasm" || (backend === "auto" && !(await hasGraphicsCard()))) {
      return new Engine(weights, await Runtime.start("wasm", threads));
    }
    const onCard = new Engine(weights, await Runtime.start("webgpu", threads));
    if (backend === "webgpu") return onCard;
    try {
      await onCard.net("latents");
      return onCard;
    } catch {
      return new Engine(weights, await Runtime.start("wasm", threads)); // cards and drivers differ
    }
  }

  /** The picture of a file; opaque. */
  async draw({ contents: { header }, quality, yHat, semantic }: Integers): Promise<Pixels> {
    const { session } = await this.net("latents");
    const { vae_latents: latents } = await session.run({
      y_hat: this.input(yHat),
      z_semantic: this.input(semantic),
      quality: this.runtime.integer(quality),
    });
    const { width, height } = header;
    const pixels = { width, height, rgba: new Uint8ClampedArray(4 * width * height).fill(255) };
    for await (const [top, x] of this.inBands("pixels", mapOf(latents!), 8, 1)) put(pixels, top, x);
    return pixels;
  }

  /** What is coded of a picture, which is extended to multiples of 64 pixels by repeating its border. */
  async analyse(pixels: Pixels): Promise<Analysed> {
    const parts: FloatMap[] = [];
    for await (const [, features] of this.inBands("stem", padded(pixels), 1, 16)) parts.push(features);
    const { session } = await this.net("analysis");
    const { y, z_idx: zIdx } = await session.run({ features: this.input(below(parts)) });
    return { y: mapOf(y!), zIdx: zIdx!.data as BigInt64Array };
  }

  /** The session of a graph, made when it is first asked for. Throws WeightsError. */
  private net(name: string): Promise<Net> {
    let net = this.nets.get(name);
    if (!net) this.nets.set(name, (net = this.made(name)));
    return net;
  }

  private async made(name: string): Promise<Net> {
    const graph = await this.weights.graph(name);
    const whole = withParameters(graph, (parameter) => this.weights.parameter(parameter));
    const session = await this.runtime.session(name, this.runtime.backend === "webgpu" ? inSinglePrecision(whole) : whole);
    return { session, halo: Number(metadataOf(graph, "halo") ?? NaN) };
  }

  /** A graph's output as bands of rows, each with its first row; a place of the maps has so many pixels a side. */
  private async *inBands(name: string, map: FloatMap, pxIn: number, pxOut: number): AsyncGenerator<[number, FloatMap]> {
    const { session, halo } = await this.net(name);
    if (!(halo >= 0)) throw new WeightsError(`the graph ${name} states no halo`);
    const step = Math.max(pxIn, pxOut), take = step / pxIn, give = step / pxOut;
    const [, rows, columns] = map.dims;
    for (const { top, bottom, first, last } of bands(rows / take, columns / take, step, halo)) {
      const input = { [session.inputNames[0]!]: this.input(rowsOf(map, first * take, last * take)) };
      const out = mapOf((await session.run(input))[session.outputNames[0]!]!);
      yield [top * give, rowsOf(out, (top - first) * give, (bottom - first) * give)];
    }
  }

  private input({ dims, data }: FloatMap): Tensor {
    return this.runtime.floats(data, [1, ...dims]);
  }
}

function mapOf({ dims: [, channels = 0, rows = 0, columns = 0], data }: Tensor): FloatMap {
  return { dims: [channels, rows, columns], data: data as Float32Array<ArrayBuffer> };
}

function rowsOf(map: FloatMap, first: number, last: number): FloatMap {
  const [channels, rows, columns] = map.dims;
  if (first === 0 && last === rows) return map;
  const data = new Float32Array(channels * (last - first) * columns);
  for (let channel = 0; channel < channels; channel++) {
    const start = channel * rows * columns;
    data.set(map.data.subarray(start + first * columns, start + last * columns), channel * (last - first) * columns);
  }
  return { dims: [channels, last - first, columns], data };
}

/** Maps one below the other. */
function below(parts: readonly FloatMap[]): FloatMap {
  const [channels, , columns] = parts[0]!.dims;
  const rows = parts.reduce((sum, { dims }) => sum + dims[1], 0);
  const data = new Float32Array(channels * rows * columns);
  let top = 0;
  for (const part of parts) {
    const size = part.dims[1] * columns;
    for (let channel = 0; channel < channels; channel++) {
      data.set(part.data.subarray(channel * size, (channel + 1) * size), (channel * rows + top) * columns);
    }
    top += part.dims[1];
  }
  return { dims: [channels, rows, columns], data };
}

function padded({ width, height, rgba }: Pixels): FloatMap {
  const rows = 64 * Math.ceil(height / 64), columns = 64 * Math.ceil(width / 64);
  const data = new Float32Array(3 * rows * columns), scale = Math.fround(2 / 255);
  for (let channel = 0, at = 0; channel < 3; channel++) {
    for (let row = 0; row < rows; row++) {
      const start = 4 * Math.min(row, height - 1) * width + channel;
      for (let column = 0; column < columns; column++, at++) {
        data[at] = Math.fround(rgba[start + 4 * Math.min(column, width - 1)]! * scale) - 1;
      }
    }
  }
  return { dims: [3, rows, columns], data };
}

/** Write a band of rows from row `top` on; [-1, 1] becomes 0 to 255. */
function put({ width, height, rgba }: Pixels, top: number, { dims: [, rows, columns], data }: FloatMap): void {
  for (let channel = 0; channel < 3; channel++) {
    for (let row = top; row < Math.min(top + rows, height); row++) {
      const from = (channel * rows + row - top) * columns;
      for (let column = 0; column < width; column++) {
        const value = Math.min(1, Math.max(-1, data[from + column]!));
        rgba[4 * (row * width + column) + channel] = Math.floor((value + 1) * 127.5 + 0.5);
      }
    }
  }
}
