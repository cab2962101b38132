/** The codec in a thread of its own, so that a page stays alive meanwhile. */

import { Codec } from "./codec.ts";
import { OneDCError, oneLine } from "./errors.ts";
import type { Answer, Question, Request, Result, Settings, Task } from "./messages.ts";

let codec: Promise<Codec> | undefined;
let last: Promise<void> = Promise.resolve();
const dropped = new Set<number>();

/** One task after the other: a session runs once at a time. */
self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if ("dropped" in data) dropped.add(data.dropped);
  else last = last.then(() => answer(data));
});

async function answer({ id, task, settings }: Question): Promise<void> {
  try {
    const ready = await loaded(settings);
    if (dropped.delete(id)) return;
    send({ id, begun: true }, []);
    const result = await done(ready, task, settings.maxPixels);
    send({ id, result }, ["rgba" in result ? result.rgba.buffer : result.file.buffer]);
  } catch (error) {
    const known = error instanceof OneDCError;
    const line = known ? error.message : `the codec failed: ${oneLine(error)}`;
    send({ id, error: line, kind: known ? error.name : "OneDCError" }, []);
  }
}

async function done(codec: Codec, task: Task, maxPixels: number): Promise<Result> {
  if ("source" in task) return { file: await codec.encode(task), qualities: codec.qualities };
  const { backend, threads } = codec.engine.runtime;
  return { ...(await codec.decode(task.data, { ...task, maxPixels })), backend, threads };
}

/** The codec, made once; after a failure it is tried again. */
function loaded({ weights, backend, threads }: Settings): Promise<Codec> {
  codec ??= Codec.load(weights, { backend, threads }, (arrived) => send({ arrived }, [])).catch((error: unknown) => {
    codec = undefined;
    throw error;
  });
  return codec;
}

function send(message: Answer, transfer: Transferable[]): void {
  (self as unknown as Worker).postMessage(message, transfer);
}
