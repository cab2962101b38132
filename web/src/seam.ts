/** The networks in exact integers that choose the tables of y: sections 4.6 and 4.7. */

import { WeightsError } from "./errors.ts";
import type { Levels } from "./levels.ts";
import {
  UNITS,
  add,
  channelsOf,
  clamp,
  convolution,
  emptyMap,
  gained,
  leakyReLU,
  shuffled,
  stacked,
  type FeatureMap,
  type Layer,
} from "./maps.ts";
import type { IntegerTensor } from "./safetensors.ts";

/** What y is coded in. */
export const PARTS = 4;
/** 2 * (row mod 2) + (column mod 2) where quarter g of y's channels belongs to part k. */
const QUARTERS = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]] as const;

/** Values of part k [N/4, 4h, 4w] by their tables and their means in units of 2^-14, both likewise. */
export type Code = (tables: Uint8Array, mean: Float64Array, part: number) => Int32Array;

/** Hyper features and what the float networks see of z. */
export interface Hyper {
  readonly features: FeatureMap;
  readonly semantic: FeatureMap;
}

/** The integers of a seam by name, taken out one by one so that none is left over. */
class Integers {
  private readonly left: Map<string, IntegerTensor>;

  constructor(integers: ReadonlyMap<string, IntegerTensor>) {
    this.left = new Map(integers);
  }

  has(name: string): boolean {
    return this.left.has(name);
  }

  take(name: string): IntegerTensor {
    const found = this.left.get(name);
    if (!found) throw new WeightsError(`seam: tensor ${name} is missing`);
    this.left.delete(name);
    return found;
  }

  finish(): void {
    for (const name of this.left.keys()) throw new WeightsError(`seam: unexpected tensor ${name}`);
  }
}

export class Seam {
  private readonly thresholds: Float64Array;
  private readonly featIn: Layer;
  private readonly toEntropy: Layer;
  private readonly fusion: Layer;
  private readonly reduction: Layer;
  private readonly adaptors: readonly Layer[];
  private readonly trunk: Layer;
  private readonly hyperBias: Table | null;
  private readonly contextBias: Table | null;
  private readonly gain: Table | null;
  private readonly inverse: Table | null;

  /** Whether y is scaled by quality, so that each quality byte leads to a file of its own. */
  get isGraded(): boolean {
    return this.gain !== null;
  }

  /** `integers`: by name. Throws WeightsError where they are no seam's, or their sums could be inexact. */
  constructor(integers: ReadonlyMap<string, IntegerTensor>) {
    const left = new Integers(integers);
    this.thresholds = left.take("thresholds").values;
    if (this.thresholds.length !== 255) throw new WeightsError(`seam: ${this.thresholds.length} thresholds, expected 255`);
    this.featIn = sequence(left, "h_s.feat_in");
    this.toEntropy = sequence(left, "h_s.to_entropy");
    this.fusion = sequence(left, "prior.fusion");
    this.reduction = convolutionOf(left, "prior.reduction");
    this.adaptors = [0, 1, 2].map((part) => block(left, `prior.adaptors.${part}`));
    this.trunk = sequence(left, "prior.trunk");
    this.hyperBias = tableOf(left, "prior.hyper_bias.bias", 2 ** 53);
    this.contextBias = tableOf(left, "prior.context_bias.bias", 2 ** 53);
    this.gain = tableOf(left, "prior.gain.gain", 2 ** 26 - 1);
    this.inverse = tableOf(left, "prior.gain.inverse", 2 ** 26 - 1);
    left.finish();
  }

  /** From the levels of z, h x w, to maps of 4h x 4w and h x w. */
  hyper({ rows, columns, values }: Levels): Hyper {
    const z = emptyMap(7, rows, columns);
    values.forEach((level, at) => (z.data[at] = (level - 2) * (UNITS / 2)));
    const semantic = this.featIn(z);
    return { features: this.toEntropy(semantic), semantic };
  }

  /** y_hat [N, 4h, 4w]; `code` is asked for each of four parts in turn. */
  scan(features: FeatureMap, quality: number, code: Code): FeatureMap {
    let params = this.fusion(shifted(features, this.hyperBias, quality));
    const context = shifted(this.reduction(params), this.contextBias, quality);
    const y = emptyMap(context.channels, context.rows, context.columns);
    for (let part = 0; part < PARTS; part++) {
      if (part) params = this.trunk(this.adaptors[part - 1]!(stacked(y, context)));
      const scale = this.placed(channelsOf(params, 0, y.channels), part, quality);
      const mean = this.placed(channelsOf(params, y.channels, 2 * y.channels), part, quality);
      const values = code(Uint8Array.from(scale, (value) => this.tableOf(value)), mean, part);
      forPart(y, part, (at, in_part, channel) => {
        const value = values[in_part]! * UNITS + mean[in_part]!;
        y.data[at] = y.data[at]! + (this.inverse ? gained(value, this.inverse(quality, channel)) : value);
      });
    }
    return y;
  }

  /** A part's values [N/4, 4h, 4w] of a map, times the gains. */
  placed(x: FeatureMap, part: number, quality: number): Float64Array {
    const out = new Float64Array(x.data.length / PARTS);
    forPart(x, part, (at, in_part, channel) => {
      const value = x.data[at]!;
      out[in_part] = this.gain ? gained(value, this.gain(quality, channel)) : value;
    });
    return out;
  }

  /** The number of thresholds that are at most `scale`. */
  private tableOf(scale: number): number {
    let low = 0;
    for (let high = this.thresholds.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.thresholds[middle]! <= scale) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Go over the places of a part: index in the map, index in the part [N/4, 4h, 4w], channel of the map. */
function forPart(x: FeatureMap, part: number, visit: (at: number, in_part: number, channel: number) => void): void {
  const quarter = x.channels / PARTS, plane = x.rows * x.columns;
  QUARTERS[part]!.forEach((place, g) => {
    for (let i = 0; i < quarter; i++) {
      for (let row = place >> 1; row < x.rows; row += 2) {
        for (let column = place & 1; column < x.columns; column += 2) {
          const inside = row * x.columns + column, channel = g * quarter + i;
          visit(channel * plane + inside, i * plane + inside, channel);
        }
      }
    }
  });
}

/** A value for each quality byte and channel. */
type Table = (quality: number, channel: number) => number;

/** A table [256, C]; null in a model of a single rate. */
function tableOf(integers: Integers, name: string, limit: number): Table | null {
  if (!integers.has(name)) return null;
  const { shape: [, channels = 0], values } = integers.take(name);
  if (values.length !== 256 * channels || !values.every((value) => Math.abs(value) < limit)) {
    throw new WeightsError(`seam: ${name} is beyond the exact range`);
  }
  return (quality, channel) => values[quality * channels + channel]!;
}

function shifted(x: FeatureMap, bias: Table | null, quality: number): FeatureMap {
  if (!bias) return x;
  const plane = x.rows * x.columns;
  return { ...x, data: x.data.map((value, at) => clamp(value + bias(quality, Math.floor(at / plane)))) };
}

function chain(layers: readonly Layer[]): Layer {
  return (x) => layers.reduce((map, layer) => layer(map), x);
}

/** The layers name.0, name.1, ... one after the other; none is the identity. */
function sequence(integers: Integers, name: string): Layer {
  const layers: Layer[] = [];
  for (let layer; (layer = found(integers, `${name}.${layers.length}`)); ) layers.push(layer);
  return chain(layers);
}

/** The layer of a name, of the kind that its integers are of; null where there are none. */
function found(integers: Integers, name: string): Layer | null {
  if (integers.has(`${name}.weight`)) return convolutionOf(integers, name);
  if (integers.has(`${name}.slope`)) return leakyOf(integers, name);
  if (integers.has(`${name}.depth.conv1.weight`)) return block(integers, name);
  if (integers.has(`${name}.subpel_conv.weight`)) return upsampling(integers, name);
  return null;
}

function convolutionOf(integers: Integers, name: string): Layer {
  const weight = integers.take(`${name}.weight`), bias = integers.take(`${name}.bias`);
  return convolution(weight, bias, integers.take(`${name}.shift`).values[0]!, name);
}

function leakyOf(integers: Integers, name: string): Layer {
  return leakyReLU(integers.take(`${name}.slope`).values[0]!, name);
}

function block(integers: Integers, name: string): Layer {
  const depth = `${name}.depth`, ffn = `${name}.ffn`;
  const main = chain([
    convolutionOf(integers, `${depth}.conv1`),
    leakyOf(integers, `${depth}.activation`),
    convolutionOf(integers, `${depth}.depth_conv`),
    convolutionOf(integers, `${depth}.conv2`),
  ]);
  const skip = found(integers, `${depth}.adaptor`) ?? ((x: FeatureMap) => x);
  const widen = convolutionOf(integers, `${ffn}.conv`), narrow = convolutionOf(integers, `${ffn}.conv_out`);
  const first = leakyOf(integers, `${ffn}.activation1`), second = leakyOf(integers, `${ffn}.activation2`);
  return (x) => {
    const y = add(main(x), skip(x));
    const hidden = widen(y), half = hidden.channels / 2;
    const mixed = add(first(channelsOf(hidden, 0, half)), second(channelsOf(hidden, half, hidden.channels)));
    return add(narrow(mixed), y);
  };
}

function upsampling(integers: Integers, name: string): Layer {
  const [subpel, upsample, conv] = ["subpel_conv", "upsample", "conv"].map((key) =>
    convolutionOf(integers, `${name}.${key}`),
  ) as [Layer, Layer, Layer];
  const first = leakyOf(integers, `${name}.activation1`), second = leakyOf(integers, `${name}.activation2`);
  return (x) => add(second(conv(first(shuffled(subpel(x))))), shuffled(upsample(x)));
}
