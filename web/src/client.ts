/** The worker as a page sees it: started when a first picture is asked for. */

import { MAX_PIXELS } from "./container.ts";
import type { Bytes } from "./digest.ts";
import type { Aim } from "./encoder.ts";
import { OneDCError } from "./errors.ts";
import { parseHeader } from "./header.ts";
import type { Answer, Question, Report, Result, Settings, Task } from "./messages.ts";
import { readPhoto, STEP } from "./pictures.ts";

interface Waiting {
  resolve(result: Result): void;
  reject(error: OneDCError): void;
}

const waiting = new Map<number, Waiting>();
let worker: Worker | undefined;
let asked = 0;
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

/** Decode a file in the worker, with times; options as of `decode`. Throws OneDCError. */
export async function decodeReport(data: Bytes, { preview = false, partial = false } = {}): Promise<Report> {
  return (await answered({ data, preview, partial })) as Report;
}

/**
 * Encode a photo, anything that the browser can show, in the worker.
 *
 * A photo that looks better smaller in so many bytes is shrunk first, until some of its y fits. `background`, a CSS colour,
 * is laid under transparent places; `check` false leaves the checksum out. Throws OneDCError.
 */
export async function encode(photo: Blob, aim: Aim, { background = "white", check = true } = {}): Promise<Bytes> {
  let best: Bytes | null = null;
  for (let share = 1, side = Infinity; ; share *= STEP) {
    const source = await readPhoto(photo, aim, background, share);
    if (best && Math.max(source.width, source.height) >= side) return best;
    side = Math.max(source.width, source.height);
    const file = (await answered({ source, aim, check })) as Bytes;
    if ("quality" in aim || parseHeader(file).quality > 0) return file;
    best ??= file;
  }
}

function answered(task: Task): Promise<Result> {
  worker ??= started();
  const question: Question = { id: ++asked, task, settings };
  worker.postMessage(question);
  return new Promise((resolve, reject) => waiting.set(question.id, { resolve, reject }));
}

function started(): Worker {
  const made = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
    const who = waiting.get(data.id);
    waiting.delete(data.id);
    if ("error" in data) who?.reject(new OneDCError(data.error));
    else who?.resolve(data.result);
  });
  made.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new OneDCError(`the codec cannot start: ${event.message}`));
    waiting.clear();
    worker = undefined;
  });
  return made;
}
