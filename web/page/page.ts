/** The page: a file is dropped or chosen, its picture and its figures are shown. */

import { decodeReport, info, type FileInfo, type Report } from "../src/index.ts";
import { oneLine } from "../src/errors.ts";

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const drop = element("drop"), input = element<HTMLInputElement>("file"), status = element("status");
const result = element("result"), canvas = element<HTMLCanvasElement>("picture"), save = element<HTMLAnchorElement>("save");

let newest = 0;

async function open(file: File): Promise<void> {
  const turn = ++newest;
  result.hidden = true;
  say(`${file.name}: decoding. The first picture takes longer, because the model is loaded.`);
  try {
    const data = new Uint8Array(await file.arrayBuffer());
    const facts = info(data);
    const report = await decodeReport(data);
    if (turn === newest) show(file.name, facts, report);
  } catch (error) {
    if (turn === newest) say(`${file.name}: ${oneLine(error)}`, true);
  }
}

function show(name: string, facts: FileInfo, report: Report): void {
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
  canvas.toBlob((blob) => {
    if (!blob) return;
    URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(blob);
    save.download = name.replace(/\.1dc$/, "") + ".png";
  });
  result.hidden = false;
}

function say(text: string, failed = false): void {
  status.textContent = text;
  status.classList.toggle("error", failed);
}

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
