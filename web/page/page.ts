/** The page: a file or a photo is dropped or chosen; its picture and its figures are shown. */

import { decodeReport, encode, info, type FileInfo, type Report } from "../src/index.ts";
import type { Bytes } from "../src/digest.ts";
import { oneLine } from "../src/errors.ts";

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const drop = element("drop"), input = element<HTMLInputElement>("file"), status = element("status");
const bytes = element<HTMLInputElement>("bytes"), preview = element<HTMLInputElement>("preview");
const result = element("result"), canvas = element<HTMLCanvasElement>("picture");
const save = element<HTMLAnchorElement>("save"), saveFile = element<HTMLAnchorElement>("save-file");

let newest = 0;
let shown: File | null = null;

async function open(file: File): Promise<void> {
  const turn = ++newest;
  shown = file;
  const photo = file.type.startsWith("image/") && !file.name.endsWith(".1dc");
  result.hidden = true;
  say(`${file.name}: ${photo ? "encoding" : "decoding"}. The first picture takes longer, because the model is loaded.`);
  try {
    const data = photo ? await encode(file, { targetBytes: targetBytes() }) : new Uint8Array(await file.arrayBuffer());
    const facts = info(data);
    const report = await decodeReport(data, { preview: preview.checked });
    if (turn === newest) show(file.name, facts, report, photo ? data : null);
  } catch (error) {
    if (turn === newest) say(`${file.name}: ${oneLine(error)}`, true);
  }
}

function targetBytes(): number {
  if (!bytes.checkValidity() || !bytes.value) throw new Error("the bytes must be a whole number above 0");
  return Number(bytes.value);
}

/** `made`: the file of a photo; null where a file was opened. */
function show(name: string, facts: FileInfo, report: Report, made: Bytes | null): void {
  const { width, height, rgba, integersMs, networksMs, backend, threads } = report;
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  const lines = [
    `${name}: ${facts.sizeBytes.toLocaleString("en")} bytes, ${facts.bpp.toFixed(3)} bits per pixel`,
    `${width}x${height} pixels` + (facts.originalWidth ? `, shrunk from ${facts.originalWidth}x${facts.originalHeight}` : ""),
    facts.quality ? `quality ${facts.quality}` : "the semantic layer alone",
    `model ${facts.modelId}`,
  ];
  element("facts").textContent = `${lines.join("; ")}.`;
  const where = backend === "webgpu" ? "the graphics card" : `${threads} thread${threads > 1 ? "s" : ""}`;
  say(`Decoded in ${((integersMs + networksMs) / 1000).toFixed(1)} s on ${where}.`);
  const stem = name.replace(/\.\w+$/, "");
  saveFile.hidden = !made;
  if (made) offer(saveFile, new Blob([made]), `${stem}.1dc`);
  canvas.toBlob((blob) => blob && offer(save, blob, `${stem}.png`));
  result.hidden = false;
}

function offer(link: HTMLAnchorElement, blob: Blob, name: string): void {
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
  link.download = name;
}

function say(text: string, failed = false): void {
  status.textContent = text;
  status.classList.toggle("error", failed);
}

preview.addEventListener("change", () => {
  if (shown) void open(shown);
});

input.addEventListener("change", () => {
  const [file] = input.files ?? [];
  if (file) void open(file);
  input.value = "";
});

for (const type of ["dragover", "dragleave", "drop"] as const) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragover");
    const [file] = type === "drop" ? (event.dataTransfer?.files ?? []) : [];
    if (file) void open(file);
  });
}
