/** Maps of floats as the networks take and give them: cut out, put together, from pixels and back. */

import type { FloatMap } from "./integers.ts";
import { stretches, weights, type Overlap, type Range } from "./tiles.ts";

/** RGBA, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

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

/**
 * What a network that sees the whole picture makes of maps of it: tile by tile where the picture is large, blended.
 *
 * `step` is the pixels a side of a place of the first map.
 */
export async function blended(
  net: (maps: FloatMap[]) => Promise<FloatMap[]>,
  maps: readonly [FloatMap, ...FloatMap[]],
  step: number,
  overlap: Overlap,
): Promise<FloatMap[]> {
  const [, rows, columns] = maps[0].dims, height = rows * step, width = columns * step;
  if (!(height * width > overlap.tile ** 2)) return net([...maps]);
  const whole: FloatMap[] = [];
  for (const down of stretches(height, overlap)) {
    for (const across of stretches(width, overlap)) {
      const parts = await net(maps.map((map) => cropped(map, scaled(down, map.dims[1] / height), scaled(across, map.dims[2] / width))));
      for (const [index, part] of parts.entries()) {
        const [channels, partRows, partColumns] = part.dims;
        const perRow = partRows / (down[1] - down[0]), perColumn = partColumns / (across[1] - across[0]);
        const dims = [channels, height * perRow, width * perColumn] as const;
        const map = (whole[index] ??= { dims, data: new Float32Array(dims[0] * dims[1] * dims[2]) });
        const byRow = weights(down, partRows, height, overlap), byColumn = weights(across, partColumns, width, overlap);
        add(map, part, down[0] * perRow, across[0] * perColumn, byRow, byColumn);
      }
    }
  }
  return whole;
}

/** Add a part to a map at a place, by the weights of its rows and columns. */
function add(map: FloatMap, part: FloatMap, top: number, left: number, byRow: Float32Array, byColumn: Float32Array): void {
  const [channels, rows, columns] = part.dims, [, height, width] = map.dims;
  for (let channel = 0, from = 0; channel < channels; channel++) {
    for (let row = 0; row < rows; row++, from += columns) {
      const to = (channel * height + top + row) * width + left;
      for (let column = 0; column < columns; column++) {
        map.data[to + column]! += Math.fround(part.data[from + column]! * byRow[row]!) * byColumn[column]!;
      }
    }
  }
}

function scaled([from, to]: Range, places: number): Range {
  return [Math.round(from * places), Math.round(to * places)];
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
