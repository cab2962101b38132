/** Reads safetensors files. */

import type { Bytes } from "./digest.ts";
import { WeightsError } from "./errors.ts";

/** A tensor as it is stored. */
export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Little-endian, row by row. */
  readonly bytes: Bytes;
}

/** Integers, each exact in a float. */
export interface IntegerTensor {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Bytes of a value; other types are refused when one of their tensors is asked for. */
const SIZES: Record<string, number> = { I8: 1, U8: 1, I16: 2, F16: 2, BF16: 2, I32: 4, F32: 4, I64: 8, F64: 8 };

/** Take a file apart; tensors stay views of it. Throws WeightsError. */
export function readSafetensors(file: Bytes): Safetensors {
  const head = headOf(file);
  const start = 8 + headLength(file);
  const { __metadata__: metadata = {}, ...entries } = head;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of Object.entries(entries as Record<string, Entry>)) {
    const [begin, end] = entry.data_offsets;
    const size = entry.shape.reduce((product, side) => product * side, SIZES[entry.dtype] ?? NaN);
    if (size < end - begin || size > end - begin || start + end > file.length) {
      throw new WeightsError(`tensor ${name} is cut short`);
    }
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, bytes: file.subarray(start + begin, start + end) });
  }
  return { metadata: metadata as Record<string, string>, tensors };
}

function headLength(file: Bytes): number {
  if (file.length < 8) return Infinity;
  return Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
}

function headOf(file: Bytes): Record<string, unknown> {
  const length = headLength(file);
  try {
    if (8 + length > file.length) throw new Error();
    return JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Record<string, unknown>;
  } catch {
    throw new WeightsError("it is not a safetensors file");
  }
}

/** The values of integers of any width. Throws WeightsError for other types. */
export function integersOf(name: string, { dtype, shape, bytes }: StoredTensor): IntegerTensor {
  const buffer = bytes.slice().buffer; // aligned
  switch (dtype) {
    case "I8":
      return { shape, values: new Float64Array(new Int8Array(buffer)) };
    case "I16":
      return { shape, values: new Float64Array(new Int16Array(buffer)) };
    case "I32":
      return { shape, values: new Float64Array(new Int32Array(buffer)) };
    case "I64":
      return { shape, values: Float64Array.from(new BigInt64Array(buffer), Number) };
    default:
      throw new WeightsError(`tensor ${name} is of type ${dtype}, which cannot be read here`);
  }
}

/** The values of a parameter as float32. Throws WeightsError for types that hold none. */
export function floatsOf(name: string, tensor: StoredTensor): Float32Array<ArrayBuffer> {
  const buffer = tensor.bytes.slice().buffer;
  switch (tensor.dtype) {
    case "F32":
      return new Float32Array(buffer);
    case "F16":
      return new Float32Array(new Uint16Array(buffer)).map(fromHalf);
    case "BF16":
      return new Float32Array(new Uint32Array(new Uint16Array(buffer)).map((half) => half << 16).buffer);
    case "I8":
      return new Float32Array(new Int8Array(buffer));
    default:
      throw new WeightsError(`tensor ${name} is of type ${tensor.dtype}, which cannot be read here`);
  }
}

function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 25) * (1024 + fraction) : sign * 2 ** -24 * fraction;
}
