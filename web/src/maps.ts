/** Feature maps of integers in units of 2^-14, and the layers on them: section 4.5. Sums stay below 2^53, so exact. */

import { WeightsError } from "./errors.ts";
import type { IntegerTensor } from "./safetensors.ts";

export const UNITS = 16384;
/** Pixels a side of a place of y. */
export const Y_PX = 16;
const LIMIT = 2 ** 27, EXACT = 2 ** 53;

/** Channels, rows and columns of integers. */
export interface FeatureMap {
  readonly channels: number;
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

export type Layer = (x: FeatureMap) => FeatureMap;

export function emptyMap(channels: number, rows: number, columns: number): FeatureMap {
  return { channels, rows, columns, data: new Float64Array(channels * rows * columns) };
}

/** Channels `start` to `stop` of a map, which share its memory. */
export function channelsOf(x: FeatureMap, start: number, stop: number): FeatureMap {
  const plane = x.rows * x.columns;
  return { ...x, channels: stop - start, data: x.data.subarray(start * plane, stop * plane) };
}

/** The channels of one map, then those of another. */
export function stacked(a: FeatureMap, b: FeatureMap): FeatureMap {
  const out = emptyMap(a.channels + b.channels, a.rows, a.columns);
  out.data.set(a.data);
  out.data.set(b.data, a.data.length);
  return out;
}

/** a + b, written to `a`. */
export function add(a: FeatureMap, b: FeatureMap): FeatureMap {
  for (let i = 0; i < a.data.length; i++) a.data[i] = a.data[i]! + b.data[i]!;
  return a;
}

export function clamp(value: number): number {
  return value < -LIMIT ? -LIMIT : value > LIMIT ? LIMIT : value;
}

/** clamp((clamp(value) * gain + 2^15) >> 16) */
export function gained(value: number, gain: number): number {
  return clamp(Math.floor((clamp(value) * gain + 32768) / 65536));
}

/** max(a, (a * slope + 2^15) >> 16) of a = clamp(input). Throws WeightsError. */
export function leakyReLU(slope: number, name: string): Layer {
  if (!(slope >= 0 && slope <= 32768)) throw new WeightsError(`seam: ${name}: a LeakyReLU with slope ${slope}/65536`);
  return (x) => {
    const out = emptyMap(x.channels, x.rows, x.columns);
    for (let i = 0; i < out.data.length; i++) {
      const a = clamp(x.data[i]!);
      out.data[i] = a >= 0 ? a : Math.floor((a * slope + 32768) / 65536);
    }
    return out;
  };
}

/** [4c, h, w] to [c, 2h, 2w]: out[c, 2r + i, 2k + j] = in[4c + 2i + j, r, k]. */
export function shuffled(x: FeatureMap): FeatureMap {
  const out = emptyMap(x.channels / 4, 2 * x.rows, 2 * x.columns);
  for (let channel = 0, at = 0; channel < x.channels; channel++) {
    const i = (channel >> 1) & 1, j = channel & 1;
    for (let row = 0; row < x.rows; row++) {
      const start = ((channel >> 2) * out.rows + 2 * row + i) * out.columns + j;
      for (let column = 0; column < x.columns; column++) out.data[start + 2 * column] = x.data[at++]!;
    }
  }
  return out;
}

/** Positions that are computed together. */
const TILE = 32;

/**
 * clamp((sum + bias + 2^(shift - 1)) >> shift), with zeros outside the map.
 *
 * Weights are multiplied by 2^-shift beforehand, which loses nothing. Throws WeightsError where a sum could reach 2^53.
 */
export function convolution(weight: IntegerTensor, bias: IntegerTensor, shift: number, name: string): Layer {
  const [outputs = 0, inputs = 0, side = 0] = weight.shape;
  const fan = inputs * side * side;
  if (weight.shape.length !== 4 || (side !== 1 && side !== 3) || weight.shape[3] !== side || !(shift >= 1 && shift <= 40)) {
    throw new WeightsError(`seam: ${name}: a convolution with shift ${shift} and weight ${weight.shape}`);
  }
  const step = 2 ** -shift;
  const offset = bias.values.map((value) => value + 2 ** (shift - 1));
  for (let o = 0; o < outputs; o++) {
    let worst = Math.abs(offset[o] ?? NaN);
    for (let i = 0; i < fan; i++) worst += LIMIT * Math.abs(weight.values[o * fan + i]!);
    if (!(worst < EXACT)) throw new WeightsError(`seam: ${name}: a convolution whose sums can leave the exact range`);
  }
  const scaled = weight.values.map((value) => value * step), start = offset.map((value) => value * step);
  if (side === 3 && inputs === 1) return depthwise(scaled, start);
  return dense(packed(scaled, outputs, fan), start, side);
}

/** Rows of a matrix by fours, with rows of zeros at the end: [ceil(outputs / 4), fan, 4]. */
function packed(matrix: Float64Array, outputs: number, fan: number): Float64Array {
  const out = new Float64Array(4 * Math.ceil(outputs / 4) * fan);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < fan; i++) out[((o >> 2) * fan + i) * 4 + (o & 3)] = matrix[o * fan + i]!;
  }
  return out;
}

function dense(weights: Float64Array, offset: Float64Array, side: number): Layer {
  return (x) => {
    const out = emptyMap(offset.length, x.rows, x.columns), plane = x.rows * x.columns;
    const fan = x.channels * side * side;
    const tile = new Float64Array(fan * TILE);
    for (let first = 0; first < plane; first += TILE) {
      const count = Math.min(TILE, plane - first);
      if (side === 1) fill(tile, x, first, count);
      else fillNine(tile, x, first, count);
      for (let o = 0; o < offset.length; o += 4) {
        for (let t = 0; t < count; t += 2) products(out.data, weights, tile, offset, fan, o, t, first, plane, count);
      }
    }
    return out;
  };
}

/** Four outputs at two positions. */
function products(
  out: Float64Array, weights: Float64Array, tile: Float64Array, offset: Float64Array,
  fan: number, o: number, t: number, first: number, plane: number, count: number,
): void {
  let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  for (let i = 0, w = o * fan, at = t; i < fan; i++, w += 4, at += TILE) {
    const x = tile[at]!, y = tile[at + 1]!;
    const w0 = weights[w]!, w1 = weights[w + 1]!, w2 = weights[w + 2]!, w3 = weights[w + 3]!;
    a += w0 * x; b += w1 * x; c += w2 * x; d += w3 * x;
    e += w0 * y; f += w1 * y; g += w2 * y; h += w3 * y;
  }
  const at = o * plane + first + t, rows = offset.length - o, two = t + 1 < count;
  out[at] = rounded(a, offset[o]!);
  if (two) out[at + 1] = rounded(e, offset[o]!);
  if (rows > 1) out[at + plane] = rounded(b, offset[o + 1]!);
  if (rows > 1 && two) out[at + plane + 1] = rounded(f, offset[o + 1]!);
  if (rows > 2) out[at + 2 * plane] = rounded(c, offset[o + 2]!);
  if (rows > 2 && two) out[at + 2 * plane + 1] = rounded(g, offset[o + 2]!);
  if (rows > 3) out[at + 3 * plane] = rounded(d, offset[o + 3]!);
  if (rows > 3 && two) out[at + 3 * plane + 1] = rounded(h, offset[o + 3]!);
}

function rounded(sum: number, offset: number): number {
  return clamp(Math.floor(sum + offset));
}

/** What `count` positions see of each channel: [channels, TILE]. */
function fill(tile: Float64Array, x: FeatureMap, first: number, count: number): void {
  const plane = x.rows * x.columns;
  for (let channel = 0; channel < x.channels; channel++) {
    for (let t = 0; t < count; t++) tile[channel * TILE + t] = clamp(x.data[channel * plane + first + t]!);
  }
}

/** What `count` positions see of each channel and its eight neighbours: [channels, 3, 3, TILE]. */
function fillNine(tile: Float64Array, x: FeatureMap, first: number, count: number): void {
  for (let t = 0; t < count; t++) {
    const row = Math.floor((first + t) / x.columns), column = (first + t) % x.columns;
    for (let i = 0; i < 9; i++) {
      const r = row + Math.floor(i / 3) - 1, c = column + (i % 3) - 1;
      const inside = r >= 0 && c >= 0 && r < x.rows && c < x.columns;
      for (let channel = 0, at = r * x.columns + c; channel < x.channels; channel++, at += x.rows * x.columns) {
        tile[(channel * 9 + i) * TILE + t] = inside ? clamp(x.data[at]!) : 0;
      }
    }
  }
}

function depthwise(weights: Float64Array, offset: Float64Array): Layer {
  return (x) => {
    const out = emptyMap(x.channels, x.rows, x.columns);
    for (let channel = 0, at = 0; channel < x.channels; channel++) {
      const plane = x.data.subarray(at, at + x.rows * x.columns).map(clamp);
      for (let row = 0; row < x.rows; row++) {
        for (let column = 0; column < x.columns; column++, at++) {
          let sum = 0;
          for (let i = Math.max(0, 1 - row); i < Math.min(3, x.rows + 1 - row); i++) {
            for (let j = Math.max(0, 1 - column); j < Math.min(3, x.columns + 1 - column); j++) {
              sum += weights[9 * channel + 3 * i + j]! * plane[(row + i - 1) * x.columns + column + j - 1]!;
            }
          }
          out.data[at] = rounded(sum, offset[channel]!);
        }
      }
    }
    return out;
  };
}
