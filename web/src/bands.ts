/** How a large picture is cut into bands of rows, as in Python: a function of its size alone. */

/** Rows of a map: those that are wanted, and those that are computed with a halo round them. */
export interface Band {
  readonly top: number;
  readonly bottom: number;
  readonly first: number;
  readonly last: number;
}

const WHOLE_PX = 2 ** 20, HALOS = 6;

/** The bands of a map of rows x columns positions, each `step` pixels a side. */
export function bands(rows: number, columns: number, step: number, halo: number): Band[] {
  const whole = rows * columns * step ** 2 <= WHOLE_PX;
  const height = whole ? rows : Math.max(HALOS * halo, Math.floor(WHOLE_PX / (columns * step ** 2)));
  const found: Band[] = [];
  for (let top = 0; top < rows; top += height) {
    const bottom = Math.min(top + height, rows);
    found.push({ top, bottom, first: Math.max(top - halo, 0), last: Math.min(bottom + halo, rows) });
  }
  return found;
}
