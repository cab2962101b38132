/** How a large picture is cut into tiles, or bands of rows, as in Python: a function of its size alone. */

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

/** How a graph is cut; `step` is the pixels a side of a place, `side` the places a side of a tile or NaN for whole rows. */
export interface Layout {
  readonly step: number;
  readonly halo: number;
  readonly side: number;
}

const WHOLE_PX = 3 * 2 ** 18, HALOS = 6;

/** The tiles of a map of so many places. */
export function* tiles(height: number, width: number, { step, halo, side }: Layout): Generator<Tile> {
  const whole = height * width * step ** 2 <= WHOLE_PX;
  const band = Math.max(HALOS * halo, Math.floor(WHOLE_PX / (width * step ** 2)));
  for (const rows of spans(height, whole ? height : side || band, halo)) {
    for (const columns of spans(width, whole ? width : side || width, halo)) yield { rows, columns };
  }
}

function* spans(length: number, side: number, halo: number): Generator<Span> {
  for (let start = 0; start < length; start += side) {
    const stop = Math.min(start + side, length);
    yield { start, stop, first: Math.max(start - halo, 0), last: Math.min(stop + halo, length) };
  }
}
