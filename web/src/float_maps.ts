/** Maps of floats as the networks take and give them: cut out, put together, from pixels and back. */

import type { FloatMap } from "./integers.ts";

/** RGBA, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

/** Rows or columns, from the first on and without the last. */
export type Range = readonly [from: number, to: number];

/** A part of a map, and where its upper left corner lies in the whole. */
export interface Part {
  readonly top: number;
  readonly left: number;
  readonly map: FloatMap;
}

/** A rectangle of a map. */
export function cropped(map: FloatMap, [top, bottom]: Range, [left, right]: Range): FloatMap {
  const [channels, rows, columns] = map.dims, width = right - left;
  if (bottom - top === rows && width === columns) return map;
  const data = new Float32Array(channels * (bottom - top) * width);
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let row = top; row < bottom; row++, at += width) {
      const start = (channel * rows + row) * columns;
      data.set(map.data.subarray(start + left, start + right), at);
    }
  }
  return { dims: [channels, bottom - top, width], data };
}

/** The whole of parts that do not overlap. */
export function assembled(parts: readonly Part[]): FloatMap {
  if (parts.length === 1) return parts[0]!.map;
  const { top: lastTop, left: lastLeft, map: last } = parts.at(-1)!;
  const [channels] = last.dims, rows = lastTop + last.dims[1], columns = lastLeft + last.dims[2];
  const data = new Float32Array(channels * rows * columns);
  for (const { top, left, map } of parts) {
    const [, height, width] = map.dims;
    for (let at = 0; at < channels * height; at++) {
      const channel = Math.floor(at / height), row = top + (at % height);
      data.set(map.data.subarray(at * width, (at + 1) * width), (channel * rows + row) * columns + left);
    }
  }
  return { dims: [channels, rows, columns], data };
}

/** A rectangle of a picture that goes on by repeating its border: 0 to 255 becomes [-1, 1]. */
export function toFloats({ width, height, rgba }: Pixels, [top, bottom]: Range, [left, right]: Range): FloatMap {
  const data = new Float32Array(3 * (bottom - top) * (right - left)), scale = Math.fround(2 / 255);
  for (let channel = 0, at = 0; channel < 3; channel++) {
    for (let row = top; row < bottom; row++) {
      const start = 4 * Math.min(row, height - 1) * width + channel;
      for (let column = left; column < right; column++, at++) {
        data[at] = Math.fround(rgba[start + 4 * Math.min(column, width - 1)]! * scale) - 1;
      }
    }
  }
  return { dims: [3, bottom - top, right - left], data };
}

/** Write a part of a picture, as far as the picture goes: [-1, 1] becomes 0 to 255. */
export function draw({ width, height, rgba }: Pixels, { top, left, map: { dims, data } }: Part): void {
  const [, rows, columns] = dims;
  for (let channel = 0; channel < 3; channel++) {
    for (let row = 0; row < Math.min(rows, height - top); row++) {
      const from = (channel * rows + row) * columns, to = 4 * ((top + row) * width + left) + channel;
      for (let column = 0; column < Math.min(columns, width - left); column++) {
        const value = Math.min(1, Math.max(-1, data[from + column]!));
        rgba[to + 4 * column] = Math.floor((value + 1) * 127.5 + 0.5);
      }
    }
  }
}
