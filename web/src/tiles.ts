/** How a large picture is cut into tiles, as in Python: a function of its size alone. */

/** Rows or columns, from the first on and without the last. */
export type Range = readonly [from: number, to: number];

/** One side of a tile, in places of the coarser map: what is wanted, and what is computed with a halo round it. */
export interface Span {
  readonly start: number;
  readonly stop: number;
  readonly first: number;
  readonly last: number;
}

/** A rectangle of a map. */
export interface Tile {
  readonly rows: Span;
  readonly columns: Span;
}

/** How a graph is cut; `step` is the pixels a side of a place, `side` the places a side of a tile. */
export interface Layout {
  readonly step: number;
  readonly halo: number;
  readonly side: number;
}

const WHOLE_PX = 3 * 2 ** 18;

/** The tiles of a map of so many places. */
export function* tiles(height: number, width: number, { step, halo, side }: Layout): Generator<Tile> {
  const whole = height * width * step ** 2 <= WHOLE_PX;
  for (const rows of spans(height, whole ? height : side, halo)) {
    for (const columns of spans(width, whole ? width : side, halo)) yield { rows, columns };
  }
}

function* spans(length: number, side: number, halo: number): Generator<Span> {
  for (let start = 0; start < length; start += side) {
    const stop = Math.min(start + side, length);
    yield { start, stop, first: Math.max(start - halo, 0), last: Math.min(stop + halo, length) };
  }
}

/** How a picture is cut into tiles that overlap. */
export interface Overlap {
  /** Longest side of a tile in pixels; a picture of at most its square is a single tile. */
  readonly tile: number;
  /** Pixels that neighbours share; tiles begin and end on multiples of it. */
  readonly shared: number;
}

/** One side of a picture in the fewest stretches of pixels, as even as can be. */
export function stretches(length: number, { tile, shared }: Overlap): Range[] {
  const count = Math.max(1, Math.ceil((length - shared) / (tile - shared)));
  if (count === 1) return [[0, length]];
  const even = Math.ceil((length + (count - 1) * shared) / count), side = Math.ceil(even / shared) * shared;
  const found: Range[] = [];
  for (let start = 0; start < length - shared; start += side - shared) found.push([start, Math.min(start + side, length)]);
  return found;
}

/** Weights of a tile's places along one side: 1, but fading where a neighbour takes over. */
export function weights([from, to]: Range, places: number, length: number, { shared }: Overlap): Float32Array {
  return Float32Array.from({ length: places }, (_, place) => {
    const centre = ((place + 0.5) * (to - from)) / places;
    return (from > 0 ? Math.min(centre / shared, 1) : 1) * (to < length ? Math.min((to - from - centre) / shared, 1) : 1);
  });
}
