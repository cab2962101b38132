/** What encodes and decodes for the page: the server that it comes from, or the browser. */

import type { Following } from "../src/client.ts";
import type { Bytes } from "../src/digest.ts";
import type { Aim } from "../src/encoder.ts";

/** Something made, and the seconds that the codec took for it. */
export interface Made<T> {
  readonly content: T;
  readonly seconds: number;
  /** What ran the networks, where the user may wonder. */
  readonly by?: string;
}

/** A picture file of a .1dc file. */
export interface Decoded extends Made<Blob> {
  /** Who made up its details, from how much of the file. */
  readonly note: string;
}

export interface DecodeWish {
  /** The semantic layer alone. */
  readonly preview: boolean;
  /** At the size of the original, where the picture was shrunk. */
  readonly fullSize: boolean;
  /** What is whole of a file that was cut or damaged, unverified. */
  readonly partial: boolean;
}

/** A job whose signal ends it. */
export interface Job extends Following {
  readonly signal: AbortSignal;
}

/** Its methods throw an OneDCError of one line, or what the job's signal was aborted with. */
export interface Coder {
  readonly by: "server" | "browser";
  /** Whether the semantic layer is decoded without being asked for. */
  readonly isFast: boolean;
  /** How many qualities lead to different files. */
  qualities(): Promise<number>;
  /** A .1dc file of a photo; `background` is laid under transparent places. */
  encode(photo: Blob, aim: Aim, background: string, job: Job): Promise<Made<Bytes>>;
  /** Throws FormatError for a file that cannot be decoded as it is wished. */
  decode(data: Bytes, wish: DecodeWish, job: Job): Promise<Decoded>;
  /** A photo that this browser cannot show as one that it can. */
  shown(photo: Blob, background: string, job: Job): Promise<Blob>;
  /** How many jobs wait or run, where others wait too. */
  jobs?(): Promise<number>;
}
