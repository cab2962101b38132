/** The page: a photo is encoded and decoded, a .1dc file decoded, and both are shown. */

import { info } from "../src/container.ts";
import type { Bytes } from "../src/digest.ts";
import type { Aim } from "../src/encoder.ts";
import { OneDCError, oneLine } from "../src/errors.ts";
import { beginsFile } from "../src/header.ts";
import type { Coder, Made } from "./coder.ts";
import { clear, element, factsOf, isShowable, offer, showBeside, showFacts, showLayer, showPicture, type Fact } from "./view.ts";

const form = element<HTMLFormElement>("form"), drop = element("drop"), input = element<HTMLInputElement>("file");
const quality = element<HTMLInputElement>("quality"), bytes = element<HTMLInputElement>("bytes");
const background = element<HTMLSelectElement>("background"), again = element<HTMLButtonElement>("encode");
const layer = element<HTMLButtonElement>("show-layer");
const steps = element<HTMLProgressElement>("steps"), clock = element("clock");
const TICK_MS = 1000;

/** Throws what `signal` was aborted with. */
type Work = (signal: AbortSignal) => Promise<void>;

let coder: Coder;
let running = new AbortController();
let photo: File | null = null;

/** Let the page work, with what encodes and decodes for it. */
export function start(by: Coder): void {
  coder = by;
  document.body.dataset.by = by.by;
  document.querySelectorAll(".address").forEach((place) => (place.textContent = new URL(".", location.href).href));
  choose();
}

/** Encode or decode a file and show what comes of it, in place of what came before. */
function open(file: File): Promise<void> {
  clear();
  return run(file.name, async (signal) => {
    const data = new Uint8Array(await file.arrayBuffer());
    const isCode = file.name.toLowerCase().endsWith(".1dc") || beginsFile(data);
    photo = isCode ? null : file;
    again.disabled = isCode;
    await (isCode ? openFile(file.name, data, signal) : openPhoto(file, signal));
  });
}

/** Work on a file in place of what is being worked on; what goes wrong is said in one line. */
async function run(name: string, work: Work): Promise<void> {
  running.abort();
  const { signal } = (running = new AbortController());
  const ticking = setInterval(tick, TICK_MS, performance.now(), signal);
  try {
    await work(signal);
  } catch (error) {
    if (!signal.aborted) say(`${name}: ${oneLine(error)}`, { failed: true });
  } finally {
    clearInterval(ticking);
  }
}

async function openPhoto(file: File, signal: AbortSignal): Promise<void> {
  say(`Encoding ${file.name}`, { step: 0 });
  const under = background.value;
  const encoded = await coder.encode(file, aim(), under, signal);
  const data = encoded.content;
  say(`Decoding ${file.name}`, { step: 1 });
  const decoded = await coder.decode(data, { preview: false, fullSize: true }, signal);
  signal.throwIfAborted();
  const times = (file.size / data.length).toLocaleString("en", { maximumFractionDigits: 1 });
  const shrunk: Fact = ["Smaller", `${times} times`, `than ${file.size.toLocaleString("en")} bytes`];
  show(file.name, data, decoded, [shrunk, time("Encoding", encoded)]);
  const original = (await isShowable(file)) ? file : await coder.shown(file, under, signal);
  signal.throwIfAborted();
  showBeside(original, "Original", under);
  const end = `${file.name}: encoded in ${data.length.toLocaleString("en")} bytes.`;
  await offerLayer(file.name, end, signal, async (signal) => void (await showSemantic(data, true, signal)));
}

async function openFile(name: string, data: Bytes, signal: AbortSignal): Promise<void> {
  say(`Decoding ${name}`, { step: 1 });
  const decoded = await coder.decode(data, { preview: false, fullSize: false }, signal);
  signal.throwIfAborted();
  show(name, data, decoded, []);
  await offerLayer(name, `${name}: decoded.`, signal, async (signal) => {
    showBeside(await showSemantic(data, false, signal), "Semantic layer", "none");
  });
}

function show(name: string, data: Bytes, decoded: Made<Blob>, facts: readonly Fact[]): void {
  const found = info(data);
  showPicture(decoded.content, found.width, found.height);
  showFacts([...factsOf(found), ...facts, time("Decoding", decoded)]);
  offer(name, data, decoded.content);
}

/** Show the semantic layer by `work`, at once or when it is asked for; `end` says that all is done. */
async function offerLayer(name: string, end: string, signal: AbortSignal, work: Work): Promise<void> {
  const all = async (signal: AbortSignal) => {
    await work(signal);
    say(end);
  };
  if (coder.isFast) return all(signal);
  say(end);
  layer.hidden = false;
  layer.onclick = () => void run(name, all);
}

async function showSemantic(data: Bytes, fullSize: boolean, signal: AbortSignal): Promise<Blob> {
  say("Decoding the semantic layer", { step: 2 });
  const { content } = await coder.decode(data, { preview: true, fullSize }, signal);
  signal.throwIfAborted();
  showLayer(content);
  return content;
}

function time(name: string, { seconds, by = "" }: Made<unknown>): Fact {
  return [name, `${seconds.toFixed(2)} s`, by];
}

function aim(): Aim {
  if (!form.reportValidity()) throw new OneDCError("the bytes must be a whole number above 0");
  return chosen() === "bytes" ? { targetBytes: Number(bytes.value) } : { quality: Number(quality.value) };
}

function chosen(): string {
  return new FormData(form).get("by") as string;
}

/** Show the control of what is chosen by. */
function choose(): void {
  const byBytes = chosen() === "bytes";
  element("by-bytes").hidden = bytes.disabled = !byBytes;
  element("by-quality").hidden = quality.disabled = byBytes;
  element("quality-value").textContent = quality.value === "0" ? "0, the semantic layer alone" : quality.value;
}

/** One line, as an error, with a number of steps done, or at the end of all. */
function say(text: string, { failed = false, step = null as number | null } = {}): void {
  const line = element("status");
  line.textContent = text;
  line.classList.toggle("error", failed);
  steps.hidden = step === null;
  Object.assign(steps, { max: 3, value: step ?? 0 });
  clock.textContent = "";
}

/** How long a job takes, and how many others there are. */
async function tick(begun: number, signal: AbortSignal): Promise<void> {
  const others = ((await coder.jobs?.().catch(() => 0)) ?? 1) - 1;
  if (signal.aborted || steps.hidden) return;
  const seconds = Math.round((performance.now() - begun) / 1000);
  clock.textContent = `${seconds} s` + (others > 0 ? `; the server has ${others} more job${others > 1 ? "s" : ""}` : "");
}

function take(files: FileList | null | undefined): void {
  const [file] = files ?? [];
  if (file) void open(file);
}

form.addEventListener("input", choose);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (photo) void open(photo);
});
input.addEventListener("change", () => {
  take(input.files);
  input.value = "";
});
for (const type of ["dragover", "dragleave", "drop"] as const) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragover");
    if (type === "drop") take(event.dataTransfer?.files);
  });
}
