/** What a page and its worker say to each other. */

import type { Decoded } from "./codec.ts";
import type { Bytes } from "./digest.ts";
import type { Encoding } from "./encoder.ts";
import type { Backend, RuntimeOptions } from "./runtime.ts";

export interface Settings extends RuntimeOptions {
  /** Address of the weights file, whole. */
  readonly weights: string;
  readonly maxPixels: number;
}

/** A file to decode, or a picture to encode. */
export type Task =
  | { readonly data: Bytes; readonly preview: boolean; readonly partial: boolean }
  | Encoding;

export interface Question {
  readonly id: number;
  readonly task: Task;
  readonly settings: Settings;
}

/** How a picture was decoded. */
export interface Report extends Decoded {
  readonly backend: Backend;
  readonly threads: number;
}

/** A decoded picture, or an encoded one. */
export type Result = Report | Bytes;

export type Answer = { readonly id: number } & ({ readonly result: Result } | { readonly error: string });
