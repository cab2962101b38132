/** What a page and its worker say to each other. */

import type { Arrived, Decoded } from "./codec.ts";
import type { Bytes } from "./digest.ts";
import type { Encoding } from "./encoder.ts";
import type { Kind } from "./errors.ts";
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

/** A question, or the id of one that needs no answer any more. */
export type Request = Question | { readonly dropped: number };

/** How a picture was decoded. */
export interface Report extends Decoded {
  readonly backend: Backend;
  readonly threads: number;
}

/** An encoded picture. */
export interface Encoded {
  readonly file: Bytes;
  /** How many qualities lead to different files. */
  readonly qualities: number;
}

export type Result = Report | Encoded;

/** What a worker says: how far the codec is loaded, which question it has begun with, and what came of it. */
export type Answer =
  | { readonly arrived: Arrived }
  | ({ readonly id: number } & ({ readonly begun: true } | { readonly result: Result } | { readonly error: string; readonly kind: Kind }));
