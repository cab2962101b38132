/** What encodes and decodes for the page: the server that it comes from, or the browser. */

import type { Bytes } from "../src/digest.ts";
import type { Aim } from "../src/encoder.ts";

/** Something made, and the seconds that the codec took for it. */
export interface Made<T> {
  readonly content: T;
  readonly seconds: number;
  /** What ran the networks, where the user may wonder. */
  readonly by?: string;
}

export interface DecodeWish {
  /** The semantic layer alone. */
  readonly preview: boolean;
  /** At the size of the original, where the picture was shrunk. */
  readonly fullSize: boolean;
}

/** Its methods throw an OneDCError of one line, or what `signal` was aborted with. */
export interface Coder {
  readonly by: "server" | "browser";
  /** Whether the semantic layer is decoded without being asked for. */
  readonly isFast: boolean;
  /** A .1dc file of a photo; `background` is laid under transparent places. */
  encode(photo: Blob, aim: Aim, background: string, signal: AbortSignal): Promise<Made<Bytes>>;
  /** A picture file of a .1dc file. */
  decode(data: Bytes, wish: DecodeWish, signal: AbortSignal): Promise<Made<Blob>>;
  /** A photo that this browser cannot show as one that it can. */
  shown(photo: Blob, background: string, signal: AbortSignal): Promise<Blob>;
  /** How many jobs wait or run, where others wait too. */
  jobs?(): Promise<number>;
}
