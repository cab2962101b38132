/** The worker as a page sees it: started when a first picture is asked for. */

import type { Arrived } from "./codec.ts";
import { MAX_PIXELS } from "./container.ts";
import type { Bytes } from "./digest.ts";
import type { Aim } from "./encoder.ts";
import { errorOf, OneDCError } from "./errors.ts";
import { parseHeader } from "./header.ts";
import type { Answer, Encoded, Question, Report, Request, Result, Settings, Task } from "./messages.ts";
import { readPhoto, STEP } from "./pictures.ts";

/** How a caller follows and ends what it asked for. */
export interface Following {
  /** Ends the work, which then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Is told while weights and runtime arrive. */
  readonly onLoading?: ((arrived: Arrived) => void) | undefined;
}

export interface DecodeOptions extends Following {
  /** The semantic layer alone. */
  readonly preview?: boolean;
  /** What is whole of a file that was cut, unverified. */
  readonly partial?: boolean;
}

export interface EncodeOptions extends Following {
  /** A CSS colour, laid under transparent places. */
  readonly background?: string;
  /** Whether the file gets a checksum. */
  readonly check?: boolean;
}

interface Waiting extends Following {
  readonly question: Question;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

const waiting = new Map<number, Waiting>();
let worker: Worker | undefined;
let asked = 0;
/** The question that the worker has begun with. */
let begun = 0;
/** What the worker is loading; null: nothing. */
let arriving: Arrived | null = null;
let settings: Settings = {
  weights: new URL("weights.safetensors", import.meta.url).href,
  backend: "auto",
  threads: Math.min(4, navigator.hardwareConcurrency),
  maxPixels: MAX_PIXELS,
};

/** Change where the weights lie, what runs the networks, or the largest picture; before a first picture is decoded. */
export function configure(changed: Partial<Settings>): void {
  settings = { ...settings, ...changed };
  settings = { ...settings, weights: new URL(settings.weights, document.baseURI).href };
}

/** Decode a file in the worker, with times. Throws OneDCError. */
export async function decodeReport(data: Bytes, options: DecodeOptions = {}): Promise<Report> {
  const { preview = false, partial = false } = options;
  return (await answered({ data, preview, partial }, options)) as Report;
}

/**
 * Encode a photo, anything that the browser can show, in the worker.
 *
 * A photo that looks better smaller in so many bytes is shrunk first, until some of its y fits. Throws OneDCError.
 */
export async function encode(photo: Blob, aim: Aim, options: EncodeOptions = {}): Promise<Bytes> {
  const { background = "white", check = true } = options;
  let best: Bytes | null = null;
  for (let share = 1, side = Infinity; ; share *= STEP) {
    const source = await readPhoto(photo, aim, { background, share, maxPixels: settings.maxPixels });
    if (best && Math.max(source.width, source.height) >= side) return best;
    side = Math.max(source.width, source.height);
    const { file, qualities } = (await answered({ source, aim, check }, options)) as Encoded;
    if ("quality" in aim || qualities === 1 || parseHeader(file).quality > 0) return file;
    best ??= file;
  }
}

async function answered(task: Task, { signal, onLoading }: Following): Promise<Result> {
  signal?.throwIfAborted();
  const question: Question = { id: ++asked, task, settings };
  return new Promise((resolve, reject) => {
    waiting.set(question.id, { question, onLoading, resolve, reject });
    signal?.addEventListener("abort", () => drop(question.id, signal.reason), { once: true });
    post(question);
    if (arriving) onLoading?.(arriving);
  });
}

function post(request: Request): void {
  worker ??= started();
  worker.postMessage(request);
}

/** End a question that has no answer yet. What has begun ends with its worker only; the others go to a new one. */
function drop(id: number, reason: unknown): void {
  const who = waiting.get(id);
  if (!who) return;
  waiting.delete(id);
  who.reject(reason);
  if (begun !== id) return post({ dropped: id });
  worker?.terminate();
  worker = undefined;
  waiting.forEach(({ question }) => post(question));
}

function started(): Worker {
  arriving = null;
  const made = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data }: MessageEvent<Answer>) => receive(data));
  made.addEventListener("error", ({ message = "its script cannot be fetched" }) => {
    for (const { reject } of waiting.values()) reject(new OneDCError(`the codec cannot start: ${message}`));
    waiting.clear();
    worker = undefined;
  });
  return made;
}

function receive(answer: Answer): void {
  if ("arrived" in answer) {
    arriving = answer.arrived.bytes === answer.arrived.total ? null : answer.arrived;
    return waiting.forEach(({ onLoading }) => onLoading?.(answer.arrived));
  }
  if ("begun" in answer) return void (begun = answer.id);
  const who = waiting.get(answer.id);
  waiting.delete(answer.id);
  if ("error" in answer) who?.reject(errorOf(answer.kind, answer.error));
  else who?.resolve(answer.result);
}
