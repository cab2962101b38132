/** The float networks of a model: from pixels to what is coded, and from the integers of a file to pixels. */

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { WeightsError } from "./errors.ts";
import { assembled, blended, cropped, draw, toFloats, type Part, type Pixels } from "./float_maps.ts";
import { inSinglePrecision, metadataOf, withParameters } from "./graphs.ts";
import type { FloatMap, Integers } from "./integers.ts";
import { Y_PX } from "./maps.ts";
import { Runtime, hasGraphicsCard, type RuntimeOptions } from "./runtime.ts";
import { tiles, type Layout, type Overlap, type Range, type Span } from "./tiles.ts";
import type { Weights } from "./weights.ts";

/** What the encoder's networks make of a picture. */
export interface Analysed {
  /** On 4h x 4w places. */
  readonly y: FloatMap;
  /** Codebook indices [h, w]. */
  readonly zIdx: BigInt64Array;
}

interface Net {
  readonly session: InferenceSession;
  /** Of a graph that runs in tiles. */
  readonly layout: Layout;
  readonly overlap: Overlap;
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
    const { session, overlap } = await this.net("latents");
    const latents = async ([y, z]: FloatMap[]) => {
      const inputs = { y_hat: this.input(y!), z_semantic: this.input(z!), quality: this.runtime.integer(quality) };
      const { vae_latents: made } = await session.run(inputs);
      return [mapOf(made!)];
    };
    const { width, height } = header, map = (await blended(latents, [yHat, semantic], Y_PX, overlap))[0]!;
    const pixels = { width, height, rgba: new Uint8ClampedArray(4 * width * height).fill(255) };
    for await (const part of this.inTiles("pixels", pixels, (rows, columns) => cropped(map, rows, columns))) {
      draw(pixels, part);
    }
    return pixels;
  }

  /** What is coded of a picture, which is extended to multiples of 64 pixels by repeating its border. */
  async analyse(pixels: Pixels): Promise<Analysed> {
    const parts: Part[] = [];
    for await (const part of this.inTiles("stem", pixels, (rows, columns) => toFloats(pixels, rows, columns))) {
      parts.push(part);
    }
    const { session, overlap } = await this.net("analysis"), { session: hyper } = await this.net("hyper");
    const analysis = async ([features]: FloatMap[]) => {
      const { y, sem } = await session.run({ features: this.input(features!) });
      return [mapOf(y!), mapOf(sem!)];
    };
    const { layout: { step } } = await this.net("stem");
    const [y, sem] = await blended(analysis, [assembled(parts)], step, overlap);
    const { z_idx: zIdx } = await hyper.run({ y: this.input(y!), sem: this.input(sem!) });
    return { y: y!, zIdx: zIdx!.data as BigInt64Array };
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
    const fact = (key: string) => Number(metadataOf(graph, key) ?? NaN);
    const layout = { step: fact("step_px"), halo: fact("halo"), side: fact("side") };
    return { session, layout, overlap: { tile: fact("tile_px"), shared: fact("shared_px") } };
  }

  /**
   * What a graph makes of a picture of this size, tile by tile.
   *
   * `given` is the graph's input in a rectangle of its own map.
   */
  private async *inTiles(
    name: "stem" | "pixels",
    { width, height }: Pixels,
    given: (rows: Range, columns: Range) => FloatMap,
  ): AsyncGenerator<Part> {
    const { session, layout } = await this.net(name), { step, halo, side } = layout;
    if (!(step > 0 && halo >= 0 && side > 0)) throw new WeightsError(`the graph ${name} does not say how it runs in tiles`);
    const places = (px: number) => (64 * Math.ceil(px / 64)) / step;
    const [take, give] = name === "stem" ? [step, 1] : [1, step];
    for (const { rows, columns } of tiles(places(height), places(width), layout)) {
      const input = this.input(given(computed(rows, take), computed(columns, take)));
      const out = await session.run({ [session.inputNames[0]!]: input });
      const map = mapOf(out[session.outputNames[0]!]!);
      yield { top: rows.start * give, left: columns.start * give, map: cropped(map, wanted(rows, give), wanted(columns, give)) };
    }
  }

  private input({ dims, data }: FloatMap): Tensor {
    return this.runtime.floats(data, [1, ...dims]);
  }
}

function mapOf({ dims: [, channels = 0, rows = 0, columns = 0], data }: Tensor): FloatMap {
  return { dims: [channels, rows, columns], data: data as Float32Array<ArrayBuffer> };
}

/** On a map with so many places for each of the coarser one. */
function computed({ first, last }: Span, places: number): Range {
  return [first * places, last * places];
}

/** Likewise, counted from the beginning of what is computed. */
function wanted({ start, stop, first }: Span, places: number): Range {
  return [(start - first) * places, (stop - first) * places];
}
