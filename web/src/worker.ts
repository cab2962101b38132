/** The decoder in a thread of its own, so that a page stays alive meanwhile. */

import { Decoder } from "./decoder.ts";
import { OneDCError, oneLine } from "./errors.ts";
import type { Answer, Question, Settings } from "./messages.ts";

let decoder: Promise<Decoder> | undefined;
let last: Promise<void> = Promise.resolve();

/** One file after the other: a session runs once at a time. */
self.addEventListener("message", (event: MessageEvent<Question>) => {
  last = last.then(() => answer(event.data));
});

async function answer({ id, data, settings }: Question): Promise<void> {
  try {
    const decoder = await loaded(settings);
    const decoded = await decoder.decode(data, settings.maxPixels);
    const { backend, threads } = decoder.engine.runtime;
    send({ id, decoded: { ...decoded, backend, threads } }, [decoded.rgba.buffer]);
  } catch (error) {
    send({ id, error: error instanceof OneDCError ? error.message : `the decoder failed: ${oneLine(error)}` }, []);
  }
}

/** The decoder, made once; after a failure it is tried again. */
function loaded({ weights, backend, threads }: Settings): Promise<Decoder> {
  decoder ??= Decoder.load(weights, { backend, threads }).catch((error: unknown) => {
    decoder = undefined;
    throw error;
  });
  return decoder;
}

function send(message: Answer, transfer: Transferable[]): void {
  (self as unknown as Worker).postMessage(message, transfer);
}
