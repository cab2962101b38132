/** The page: a photo is encoded and decoded, a .1dc file decoded, and both are shown. */

import type { Arrived } from "../src/codec.ts";
import { info } from "../src/container.ts";
import type { Bytes } from "../src/digest.ts";
import type { Aim } from "../src/encoder.ts";
import { FormatError, OneDCError, oneLine } from "../src/errors.ts";
import { beginsFile } from "../src/header.ts";
import type { Coder, Decoded, Job, Made } from "./coder.ts";
import { clear, element, factsOf, offer, pixelsOf, showBeside, showFacts, showLayer, showPicture, type Fact } from "./view.ts";

const form = element<HTMLFormElement>("form"), drop = element("drop"), input = element<HTMLInputElement>("file");
const quality = element<HTMLInputElement>("quality"), bytes = element<HTMLInputElement>("bytes");
const background = element<HTMLSelectElement>("background"), again = element<HTMLButtonElement>("encode");
const layer = element<HTMLButtonElement>("show-layer"), stop = element<HTMLButtonElement>("stop");
const steps = element<HTMLProgressElement>("steps"), clock = element("clock");
const TICK_MS = 1000;
/** Pixels of a photo that a browser takes minutes for. */
const LARGE_PX = 1_000_000;
/** Below it there is nothing to choose: the semantic layer alone, and the one rate. */
const LEAST_QUALITIES = 3;

/** Throws what the job's signal was aborted with. */
type Work = (job: Job) => Promise<void>;

let coder: Coder;
let running = new AbortController();
let photo: File | null = null;
/** What is said at the end of a job about files that were dropped together with its own. */
let aside = "";
/** How much of weights and runtime has come. */
let loading = "";

/** Let the page work, with what encodes and decodes for it. */
export function start(by: Coder): void {
  coder = by;
  document.body.dataset.by = by.by;
  document.querySelectorAll(".address").forEach((place) => (place.textContent = new URL(".", location.href).href));
  choose();
  void by.qualities().then((count) => (document.body.dataset.rates = count < LEAST_QUALITIES ? "one" : "many"));
}

/** Encode or decode a file and show what comes of it, in place of what came before. */
function open(file: File): Promise<void> {
  clear();
  say(`Opening ${file.name}`, { step: 0 });
  return run(file.name, async (job) => {
    const data = new Uint8Array(await contentOf(file));
    if (!data.length) throw new OneDCError("the file is empty");
    const isCode = file.name.toLowerCase().endsWith(".1dc") || beginsFile(data);
    photo = isCode ? null : file;
    again.disabled = isCode;
    await (isCode ? openFile(file.name, data, job) : openPhoto(file, job));
  });
}

async function contentOf(file: File): Promise<ArrayBuffer> {
  try {
    return await file.arrayBuffer();
  } catch {
    throw new OneDCError("it cannot be read: is it a folder, or gone?");
  }
}

/** Work on a file in place of what is being worked on; what goes wrong is said in one line. */
async function run(name: string, work: Work): Promise<void> {
  running.abort();
  const { signal } = (running = new AbortController());
  loading = "";
  const ticking = setInterval(tick, TICK_MS, performance.now(), signal);
  stop.onclick = () => {
    running.abort();
    say(`${name}: stopped.`);
  };
  try {
    await work({ signal, onLoading });
  } catch (error) {
    if (!signal.aborted) say(`${name}: ${oneLine(error)}`, { failed: true });
  } finally {
    clearInterval(ticking);
  }
}

async function openPhoto(file: File, job: Job): Promise<void> {
  say(`Encoding ${file.name}`, { step: 0 });
  const under = background.value, pixels = await pixelsOf(file), wanted = aim();
  if (coder.by === "browser" && "quality" in wanted && pixels > LARGE_PX) {
    say(`Encoding ${file.name}; its ${(pixels / 1e6).toFixed(1)} million pixels may take minutes in a browser`, { step: 0 });
  }
  const encoded = await coder.encode(file, wanted, under, job);
  const data = encoded.content;
  say(`Decoding ${file.name}`, { step: 1 });
  const decoded = await coder.decode(data, { preview: false, fullSize: true, partial: false }, job);
  job.signal.throwIfAborted();
  const times = (file.size / data.length).toLocaleString("en", { maximumFractionDigits: 1 });
  const shrunk: Fact = ["Smaller", `${times} times`, `than ${file.size.toLocaleString("en")} bytes`];
  show(file.name, data, decoded, [shrunk, time("Encoding", encoded)]);
  const original = pixels ? file : await coder.shown(file, under, job);
  job.signal.throwIfAborted();
  showBeside(original, "Original", under);
  const end = `${file.name}: encoded in ${data.length.toLocaleString("en")} bytes.`;
  await offerLayer(file.name, end, job, async (job) => void (await showSemantic(data, { fullSize: true, partial: false }, job)));
}

/** Show what a file holds or, of one that is damaged or was cut, what is whole of it, marked as such. */
async function openFile(name: string, data: Bytes, job: Job): Promise<void> {
  say(`Decoding ${name}`, { step: 1 });
  const wish = { preview: false, fullSize: false, partial: false };
  let decoded: Decoded, doubt = "";
  try {
    decoded = await coder.decode(data, wish, job);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    wish.partial = true;
    decoded = await coder.decode(data, wish, job);
    doubt = `Not the whole picture, and parts of it may be wrong (${error.message}). As far as it can be read, ${decoded.note}.`;
  }
  job.signal.throwIfAborted();
  show(name, data, decoded, [], doubt);
  const end = doubt ? `${name}: damaged or incomplete; decoded as far as it can be.` : `${name}: decoded.`;
  await offerLayer(name, end, job, async (job) => {
    showBeside(await showSemantic(data, wish, job), "Semantic layer", "none");
  });
}

function show(name: string, data: Bytes, decoded: Made<Blob>, facts: readonly Fact[], doubt = ""): void {
  const found = info(data);
  showPicture(decoded.content, found.width, found.height, doubt);
  showFacts([...factsOf(found, !doubt), ...facts, time("Decoding", decoded)]);
  offer(name, data, decoded.content, !doubt);
}

/** Show the semantic layer by `work`, at once or when it is asked for; `end` says that all is done. */
async function offerLayer(name: string, end: string, job: Job, work: Work): Promise<void> {
  const all = async (job: Job) => {
    await work(job);
    say(end + aside);
  };
  if (coder.isFast) return all(job);
  say(end + aside);
  layer.hidden = false;
  layer.onclick = () => void run(name, all);
}

async function showSemantic(data: Bytes, how: { fullSize: boolean; partial: boolean }, job: Job): Promise<Blob> {
  say("Decoding the semantic layer", { step: 2 });
  const { content } = await coder.decode(data, { ...how, preview: true }, job);
  job.signal.throwIfAborted();
  showLayer(content);
  return content;
}

function time(name: string, { seconds, by = "" }: Made<unknown>): Fact {
  return [name, `${seconds.toFixed(2)} s`, by];
}

function aim(): Aim {
  if (document.body.dataset.rates === "one") return { quality: Number(quality.value) }; // of the one rate, whatever it is
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
  steps.hidden = stop.hidden = step === null;
  Object.assign(steps, { max: 3, value: step ?? 0 });
  clock.textContent = "";
}

function onLoading({ bytes, total }: Arrived): void {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  loading = bytes === total ? "" : `loading the model: ${megabytes(bytes)}${total ? ` of ${megabytes(total)}` : ""} MB`;
}

/** How long a job takes, what is loaded for it, and how many others there are. */
async function tick(begun: number, signal: AbortSignal): Promise<void> {
  const others = ((await coder.jobs?.().catch(() => 0)) ?? 1) - 1;
  if (signal.aborted || steps.hidden) return;
  const jobs = others > 0 ? `the server has ${others} more job${others > 1 ? "s" : ""}` : "";
  const seconds = Math.round((performance.now() - begun) / 1000);
  clock.textContent = [`${seconds} s`, loading, jobs].filter(Boolean).join("; ");
}

/** Open the first of some files, since only one is shown at a time. */
function take(files: FileList | null | undefined): void {
  const [file, ...others] = files ?? [];
  aside = others.length ? ` One file is opened at a time; not ${others.map(({ name }) => name).join(", ")}.` : "";
  if (file) void open(file);
}

form.addEventListener("input", choose);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  aside = "";
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
