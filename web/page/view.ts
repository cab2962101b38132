/** What the page shows of a file: pictures under a slider, figures, downloads. */

import type { FileInfo } from "../src/container.ts";
import type { Bytes } from "../src/digest.ts";

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Name, value and a remark, empty if there is none. */
export type Fact = readonly [string, string, string];

/** How far an arrow key moves the slider. */
const KEY_PERCENT = 2;
const compare = element("compare"), split = element<HTMLInputElement>("split");
let addresses: string[] = [];

/** Hide what is shown and let go of its pictures. */
export function clear(): void {
  element("result").hidden = true;
  element("layer").hidden = element("show-layer").hidden = true;
  compare.classList.add("single");
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = [];
}

/** Show the decoded picture, alone until there is one to compare it with; `doubt` says why it is not the whole one. */
export function showPicture(picture: Blob, width: number, height: number, doubt: string): void {
  fill("right", picture);
  element("right-name").textContent = doubt ? "Incomplete" : "Decoded";
  element("doubt").textContent = doubt;
  element("doubt").hidden = !doubt;
  compare.style.setProperty("--ratio", `${width / height}`);
  compare.style.setProperty("--width", `${width}`);
  element("result").hidden = false;
}

/** Put a picture beside the decoded one, under the slider. */
export function showBeside(picture: Blob, name: string, background: string): void {
  const left = fill("left", picture);
  Object.assign(left, { alt: name }).style.background = background;
  element("left-name").textContent = name;
  split.value = "50";
  moveSplit();
  compare.classList.remove("single");
}

export function showLayer(picture: Blob): void {
  fill("preview", picture);
  element("layer").hidden = false;
  element("show-layer").hidden = true;
}

/** The pixels of a picture that this browser can show; 0 of others. */
export async function pixelsOf(picture: Blob): Promise<number> {
  try {
    const bitmap = await createImageBitmap(picture), { width, height } = bitmap;
    bitmap.close();
    return width * height;
  } catch {
    return 0;
  }
}

function fill(id: string, picture: Blob): HTMLElement {
  return Object.assign(element(id), { src: addressOf(picture) });
}

function addressOf(content: Blob): string {
  const address = URL.createObjectURL(content);
  addresses.push(address);
  return address;
}

export function showFacts(facts: readonly Fact[]): void {
  const cards = facts.map(([name, value, remark]) => {
    const card = document.createElement("div");
    card.append(made("dt", name), made("dd", value));
    if (remark) card.lastElementChild!.append(made("span", remark, "remark"));
    return card;
  });
  element("facts").replaceChildren(...cards);
}

/** The figures of a file, whatever it was made of; `isWhole`: it could be decoded as it is. */
export function factsOf(found: FileInfo, isWhole: boolean): Fact[] {
  const { width, height, originalWidth, originalHeight, checkBits: bits } = found;
  const check: [string, string] = isWhole ? ["intact", `by ${bits} bits`] : ["fails", "damaged or cut short"];
  return [
    ["File", `${found.sizeBytes.toLocaleString("en")} bytes`, `model ${found.modelId}`],
    ["Rate", `${found.bpp.toFixed(4)} bpp`, "bits per pixel"],
    ["Picture", `${width} x ${height}`, originalWidth ? `shrunk from ${originalWidth} x ${originalHeight}` : "pixels"],
    ["Quality", `${found.quality}`, found.quality ? "of 100" : "the semantic layer alone"],
    ["Check", ...(bits ? check : ([isWhole ? "unverified" : "cut short", "the file has no check"] as const))],
  ];
}

function made(tag: string, text: string, className = ""): HTMLElement {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

/** Offer a file and its picture under the name of what they were made of. */
export function offer(name: string, data: Bytes, picture: Blob, isWhole: boolean): void {
  const stem = name.replace(/\.\w+$/, "");
  Object.assign(element("save-file"), { href: addressOf(new Blob([data])), download: `${stem}.1dc` });
  Object.assign(element("save"), { href: addressOf(picture), download: `${stem}${isWhole ? "" : "-incomplete"}.png` });
}

function moveSplit(): void {
  compare.style.setProperty("--split", `${split.value}%`);
}

split.addEventListener("input", moveSplit);
split.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -KEY_PERCENT, ArrowRight: KEY_PERCENT }[event.key];
  if (!step) return;
  event.preventDefault(); // else a key moves it as little as a pointer may
  split.value = `${Number(split.value) + step}`;
  moveSplit();
});
element("full-screen").addEventListener("click", () => void compare.parentElement!.requestFullscreen());
