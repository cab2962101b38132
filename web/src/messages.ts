/** What a page and its worker say to each other. */

import type { Decoded } from "./decoder.ts";
import type { Bytes } from "./digest.ts";
import type { Backend, RuntimeOptions } from "./runtime.ts";

export interface Settings extends RuntimeOptions {
  /** Address of the weights file, whole. */
  readonly weights: string;
  readonly maxPixels: number;
}

export interface Question {
  readonly id: number;
  readonly data: Bytes;
  readonly settings: Settings;
}

/** How a picture was decoded. */
export interface Report extends Decoded {
  readonly backend: Backend;
  readonly threads: number;
}

export type Answer = { readonly id: number } & ({ readonly decoded: Report } | { readonly error: string });
