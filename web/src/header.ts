/** The header of a .1dc file in its three forms: section 1 of docs/format.md. */

import { FormatError } from "./errors.ts";

export type Form = "full" | "compact" | "unchecked";

/** What a file says of itself. */
export interface Header {
  readonly form: Form;
  readonly modelId: number;
  /** The quality byte; 0: the payload holds no y. */
  readonly quality: number;
  /** Pixels of the picture as coded. */
  readonly width: number;
  readonly height: number;
  /** Width and height before the picture was shrunk; null: it was not. */
  readonly original: readonly [number, number] | null;
  readonly hasSections: boolean;
  /** Where the checksum stands. */
  readonly checksum: readonly [start: number, stop: number];
  /** Bytes of the header. */
  readonly length: number;
}

export const SIDE_MAX = 65535;
const MAGIC = 0x1d;
const FORMS: Record<number, Form> = { 12: "full", 11: "compact", 6: "unchecked" };
const RATIOS: readonly (readonly [number, number])[] = [
  [1, 1], [3, 2], [2, 3], [4, 3], [3, 4], [16, 9], [9, 16], [5, 4],
  [4, 5], [2, 1], [1, 2], [8, 5], [5, 8], [20, 9], [9, 20],
];

/** Fields of a header, the highest bit first. */
export class Fields {
  private readonly data: Uint8Array;
  bit: number;

  constructor(data: Uint8Array, start = 0) {
    this.data = data;
    this.bit = 8 * start;
  }

  take(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i++, this.bit++) {
      const byte = this.data[this.bit >> 3];
      if (byte === undefined) throw new FormatError("the file is cut short: its header is not complete");
      value = 2 * value + ((byte >> (7 - (this.bit & 7))) & 1);
    }
    return value;
  }

  /** A number of variable length, of at most 5 bytes. */
  variable(): number {
    let value = 0;
    for (let index = 0; index < 5; index++) {
      const byte = this.take(8);
      value += (byte & 127) * 2 ** (7 * index);
      if (byte < 128 && (byte > 0 || index === 0)) return value;
      if (byte < 128) break;
    }
    throw new FormatError("header: a number is not in its shortest form");
  }
}

/** Whether a .1dc file can begin with these bytes. */
export function beginsFile(data: Uint8Array): boolean {
  return formOf(data) !== undefined;
}

function formOf(data: Uint8Array): Form | undefined {
  const form = data[0] === MAGIC ? FORMS[(data[1] ?? 0) >> 4] : undefined;
  return form === "full" && data[1] !== 0xc0 ? undefined : form;
}

/** Take the header at the start of a file apart. Throws FormatError. */
export function parseHeader(data: Uint8Array): Header {
  const form = formOf(data);
  if (form === undefined) {
    throw new FormatError("not a .1dc file: it does not begin with the bytes 1D C0, 1D Bx or 1D 6x");
  }
  const fields = new Fields(data, form === "full" ? 2 : 1);
  return form === "full" ? parseFull(fields) : parseCompact(fields, form);
}

function parseFull(fields: Fields): Header {
  const version = fields.take(4);
  if (version !== 1) throw new FormatError(`format version ${version} is not 1: get another version of onedc`);
  const flags = fields.take(4);
  if (flags & 6) {
    throw new FormatError(`header: flags 0x${(flags & 6).toString(16)} are not defined in format version 1`);
  }
  const modelId = fields.take(8), quality = fields.take(8);
  fields.take(24);
  const sides = [checked("width", fields.variable()), checked("height", fields.variable())] as const;
  const working = flags & 8 ? fields.variable() : null;
  return header(fields, { form: "full", modelId, quality, hasSections: Boolean(flags & 1), checksum: [5, 8] }, sides, working);
}

function parseCompact(fields: Fields, form: Form): Header {
  fields.take(4);
  const flags = fields.take(4);
  if (form === "compact") fields.take(8);
  const modelId = flags & 2 ? fields.take(8) : 1;
  const quality = flags & 1 ? fields.take(8) : 0;
  if (flags & 1 && !quality) throw new FormatError("header: quality 0 is not between 1 and 255");
  const ratio = flags & 4 ? fields.take(4) : -1;
  if (ratio === RATIOS.length) throw new FormatError("header: ratio 15 is not between 0 and 14");
  const shrunk = Boolean(flags & 8);
  const sides = flags & 4 ? sized(checked("longer", fields.take(shrunk ? 16 : 12) + 1), RATIOS[ratio]!) : bothSides(fields, shrunk ? 14 : 12);
  const working = shrunk ? fields.take(12) + 1 : null;
  if (ratio !== ratioOf(sides) || (flags & 2 && modelId === 1)) {
    throw new FormatError("header: it is not in its shortest form");
  }
  const checksum = form === "compact" ? ([2, 3] as const) : ([0, 0] as const);
  return header(fields, { form, modelId, quality, hasSections: false, checksum }, sides, working);
}

function bothSides(fields: Fields, bits: number): readonly [number, number] {
  const width = fields.take(bits) + 1;
  return [width, fields.take(bits) + 1];
}

type Facts = Pick<Header, "form" | "modelId" | "quality" | "hasSections" | "checksum">;

function header(fields: Fields, facts: Facts, sides: readonly [number, number], working: number | null): Header {
  const length = fields.bit / 8;
  if (working === null) return { ...facts, width: sides[0], height: sides[1], original: null, length };
  if (working < 1 || working >= Math.max(...sides)) {
    throw new FormatError(`header: a longer side of ${working} is not ${sides[0]}x${sides[1]} shrunk`);
  }
  const [width, height] = sized(working, sides);
  return { ...facts, width, height, original: sides, length };
}

function checked(name: string, side: number): number {
  if (side < 1 || side > SIDE_MAX) throw new FormatError(`header: ${name} ${side} is not between 1 and ${SIDE_MAX}`);
  return side;
}

/** Width and height of a picture of a:b with that longer side. */
export function sized(longer: number, [a, b]: readonly [number, number]): readonly [number, number] {
  const most = Math.max(a, b), least = Math.min(a, b);
  const shorter = Math.max(1, Math.floor((2 * longer * least + most) / (2 * most)));
  return a >= b ? [longer, shorter] : [shorter, longer];
}

/** The first ratio that gives these sides; -1: none. */
function ratioOf(sides: readonly [number, number]): number {
  return RATIOS.findIndex((ratio) => sized(Math.max(...sides), ratio).join() === sides.join());
}

/** What a writer states. */
export type Stated = Pick<Header, "modelId" | "quality" | "width" | "height" | "original">;

/** A header in the compact form, with a checksum or without; null where it cannot state this. Zeros stand for the checksum. */
export function writeCompact({ modelId, quality, width, height, original }: Stated, check: boolean): Uint8Array | null {
  const sides = original ?? ([width, height] as const);
  const ratio = ratioOf(sides), byRatio = ratio >= 0, shrunk = original !== null;
  const bits = byRatio ? (shrunk ? 16 : 12) : shrunk ? 14 : 12;
  if (Math.max(width, height) > 4096 || Math.max(...sides) > 2 ** bits) return null;
  const named = modelId !== 1;
  const flags = 8 * Number(shrunk) + 4 * Number(byRatio) + 2 * Number(named) + Number(quality > 0);
  return packedFields([
    [MAGIC, 8], [check ? 11 : 6, 4], [flags, 4],
    ...(check ? [[0, 8] as const] : []),
    ...(named ? [[modelId, 8] as const] : []),
    ...(quality ? [[quality, 8] as const] : []),
    ...(byRatio ? [[ratio, 4] as const, [Math.max(...sides) - 1, bits] as const] : sides.map((side) => [side - 1, bits] as const)),
    ...(shrunk ? [[Math.max(width, height) - 1, 12] as const] : []),
  ]);
}

/** A header in the full form, without sections. Zeros stand for the checksum. */
export function writeFull({ modelId, quality, width, height, original }: Stated): Uint8Array {
  const sides = original ?? [width, height];
  const numbers = original ? [...sides, Math.max(width, height)] : sides;
  const head = [MAGIC, 0xc0, 0x10 + (original ? 8 : 0), modelId, quality, 0, 0, 0];
  return Uint8Array.from([...head, ...numbers.flatMap(variable)]);
}

/** Numbers of so many bits each, whole bytes in all. */
function packedFields(fields: readonly (readonly [value: number, bits: number])[]): Uint8Array {
  const text = fields.map(([value, bits]) => value.toString(2).padStart(bits, "0")).join("");
  return Uint8Array.from(text.match(/.{8}/g) ?? [], (byte) => parseInt(byte, 2));
}

function variable(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...variable(Math.floor(value / 128))];
}
