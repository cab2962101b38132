/** The float networks of a light model: from the integers of a file to pixels. */

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { bands } from "./bands.ts";
import { WeightsError } from "./errors.ts";
import { inSinglePrecision, metadataOf, withParameters } from "./graphs.ts";
import type { FloatMap, Integers } from "./integers.ts";
import { Runtime, hasGraphicsCard, type Backend, type RuntimeOptions } from "./runtime.ts";
import type { Weights } from "./weights.ts";

/** Pixels of a side of a place of the latents that pixels are drawn from. */
const STEP = 8;

export class Engine {
  readonly runtime: Runtime;
  private readonly latents: InferenceSession;
  private readonly pixels: InferenceSession;
  /** Places that a place of the latents' output depends on to each side. */
  private readonly halo: number;

  private constructor(runtime: Runtime, latents: InferenceSession, pixels: InferenceSession, halo: number) {
    this.runtime = runtime;
    this.latents = latents;
    this.pixels = pixels;
    this.halo = halo;
  }

  /** Throws WeightsError for weights without graphs, or damaged ones. */
  static async of(weights: Weights, { backend, threads }: RuntimeOptions): Promise<Engine> {
    const graphs = { latents: await weights.graph("latents"), pixels: await weights.graph("pixels") };
    const halo = Number(metadataOf(graphs.pixels, "halo") ?? NaN);
    if (!(halo >= 0)) throw new WeightsError("the graph pixels states no halo");
    const parameter = (name: string) => weights.parameter(name);
    const whole = {
      latents: withParameters(graphs.latents, parameter),
      pixels: withParameters(graphs.pixels, parameter),
    };
    const start = async (backend: Backend) => {
      const runtime = await Runtime.start(backend, threads);
      const graph = backend === "webgpu" ? inSinglePrecision(whole.latents) : whole.latents;
      const latents = await runtime.session("latents", graph);
      return new Engine(runtime, latents, await runtime.session("pixels", whole.pixels), halo);
    };
    if (backend !== "auto") return start(backend);
    if (!(await hasGraphicsCard())) return start("wasm");
    return start("webgpu").catch(() => start("wasm")); // cards and drivers differ in what they can do
  }

  /** The picture of a file, as RGBA rows; opaque. */
  async draw({ contents: { header }, yHat, semantic }: Integers): Promise<Uint8ClampedArray<ArrayBuffer>> {
    const { vae_latents: latents } = await this.latents.run({
      y_hat: this.input(yHat),
      z_semantic: this.input(semantic),
      quality: this.runtime.integer(header.quality),
    });
    const map = mapOf(latents!);
    const [, rows, columns] = map.dims;
    const rgba = new Uint8ClampedArray(4 * header.width * header.height).fill(255);
    for (const { top, bottom, first, last } of bands(rows, columns, STEP, this.halo)) {
      const { x } = await this.pixels.run({ vae_latents: this.input(rowsOf(map, first, last)) });
      put(rgba, header, mapOf(x!), STEP * first, STEP * top, STEP * bottom);
    }
    return rgba;
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

/** Write rows `top` to `bottom` of the picture from a band that begins at row `first`; [-1, 1] becomes 0 to 255. */
function put(
  rgba: Uint8ClampedArray, { width, height }: { width: number; height: number },
  { dims: [, rows, columns], data }: FloatMap, first: number, top: number, bottom: number,
): void {
  for (let channel = 0; channel < 3; channel++) {
    for (let row = top; row < Math.min(bottom, height); row++) {
      const from = (channel * rows + row - first) * columns;
      for (let column = 0; column < width; column++) {
        const value = Math.min(1, Math.max(-1, data[from + column]!));
        rgba[4 * (row * width + column) + channel] = Math.floor((value + 1) * 127.5 + 0.5);
      }
    }
  }
}
