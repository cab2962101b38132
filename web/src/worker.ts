/** The codec in a thread of its own, so that a page stays alive meanwhile. */

import { Codec } from "./codec.ts";
import { OneDCError, oneLine } from "./errors.ts";
import type { Answer, Question, Result, Settings, Task } from "./messages.ts";

let codec: Promise<Codec> | undefined;
let last: Promise<void> = Promise.resolve();

/** One task after the other: a session runs once at a time. */
self.addEventListener("message", (event: MessageEvent<Question>) => {
  last = last.then(() => answer(event.data));
});

async function answer({ id, task, settings }: Question): Promise<void> {
  try {
    const result = await done(await loaded(settings), task, settings.maxPixels);
    send({ id, result }, ["rgba" in result ? result.rgba.buffer : result.buffer]);
  } catch (error) {
    send({ id, error: error instanceof OneDCError ? error.message : `the codec failed: ${oneLine(error)}` }, []);
  }
}

async function done(codec: Codec, task: Task, maxPixels: number): Promise<Result> {
  if ("source" in task) return codec.encode(task);
  const { backend, threads } = codec.engine.runtime;
  return { ...(await codec.decode(task.data, { ...task, maxPixels })), backend, threads };
}

/** The codec, made once; after a failure it is tried again. */
function loaded({ weights, backend, threads }: Settings): Promise<Codec> {
  codec ??= Codec.load(weights, { backend, threads }).catch((error: unknown) => {
    codec = undefined;
    throw error;
  });
  return codec;
}

function send(message: Answer, transfer: Transferable[]): void {
  (self as unknown as Worker).postMessage(message, transfer);
}
