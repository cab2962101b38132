/** The page as `onedc serve` has it: the server encodes and decodes. */

import type { Bytes } from "../src/digest.ts";
import { FormatError, OneDCError } from "../src/errors.ts";
import { start } from "./page.ts";

interface Status {
  readonly jobs: number;
  readonly upload_bytes: number;
  readonly qualities: number;
}

start({
  by: "server",
  isFast: true,

  async qualities() {
    return (await status()).qualities;
  },

  async encode(photo, aim, background, { signal }) {
    const rate: Record<string, string> =
      "quality" in aim ? { quality: `${aim.quality}` } : { target_bytes: `${aim.targetBytes}` };
    const answer = await post("encode", photo, { ...rate, background }, signal);
    return { content: new Uint8Array(await answer.arrayBuffer()), seconds: secondsOf(answer) };
  },

  async decode(data, { preview, fullSize, partial }, { signal }) {
    const query = { preview: `${preview}`, full_size: `${fullSize}`, partial: `${partial}` };
    const answer = await post("decode", data, query, signal);
    return { content: await answer.blob(), seconds: secondsOf(answer), note: answer.headers.get("Onedc-Note") ?? "" };
  },

  async shown(photo, background, { signal }) {
    return (await post("read", photo, { background }, signal)).blob();
  },

  async jobs() {
    return (await status()).jobs;
  },
});

async function status(): Promise<Status> {
  return (await fetch("status")).json() as Promise<Status>;
}

/** Throws OneDCError with the server's reason. */
async function post(route: string, body: Blob | Bytes, query: Record<string, string>, signal: AbortSignal): Promise<Response> {
  let answer: Response;
  try {
    const { upload_bytes: most } = await status();
    if ((body instanceof Blob ? body.size : body.length) > most) {
      throw new OneDCError(`the file has more than the ${most.toLocaleString("en")} bytes allowed here`);
    }
    answer = await fetch(`${route}?${new URLSearchParams(query)}`, {
      method: "POST",
      body,
      signal,
      headers: { "Content-Type": "application/octet-stream" },
    });
  } catch (error) {
    throw signal.aborted || error instanceof OneDCError ? error : new OneDCError("the server does not answer");
  }
  if (!answer.ok) throw new (answer.status === 400 ? FormatError : OneDCError)(await refusal(answer));
  return answer;
}

async function refusal(answer: Response): Promise<string> {
  try {
    return ((await answer.json()) as { detail: string }).detail.replace(/^picture: /, "");
  } catch {
    return `the server answers ${answer.status} ${answer.statusText}`.trim(); // something between it and this page
  }
}

function secondsOf(answer: Response): number {
  return Number(/codec;dur=([\d.]+)/.exec(answer.headers.get("Server-Timing") ?? "")?.[1]) / 1000;
}
