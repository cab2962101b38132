/** `<onedc-img src="photo.1dc">`, and plain `<img>` elements whose address ends in .1dc. */

import { decodeReport } from "./client.ts";
import { fetched } from "./codec.ts";
import { oneLine } from "./errors.ts";

/** A picture on a canvas, with what is to be known of it. */
interface Drawn {
  readonly canvas: HTMLCanvasElement;
  readonly note: string;
}

async function drawn(url: string): Promise<Drawn> {
  const data = await fetched(url);
  const { width, height, rgba, note } = await decodeReport(data);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  return { canvas, note };
}

/**
 * A picture of a .1dc file. It fires `load` once it is drawn, `error` with a line in `detail` if it cannot be.
 *
 * Attributes: `src`, its address; `alt`, what it shows.
 */
export class OneDCImage extends HTMLElement {
  static readonly observedAttributes = ["src", "alt"];
  private asked = "";

  connectedCallback(): void {
    void this.show();
  }

  attributeChangedCallback(): void {
    this.setAttribute("role", "img");
    this.setAttribute("aria-label", this.getAttribute("alt") ?? "");
    if (this.isConnected) void this.show();
  }

  private async show(): Promise<void> {
    const src = this.getAttribute("src") ?? "";
    if (src === this.asked) return;
    this.asked = src;
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.replaceChildren();
    if (!src) return;
    try {
      const { canvas, note } = await drawn(new URL(src, document.baseURI).href);
      if (src !== this.asked) return;
      this.title = note;
      canvas.style.maxWidth = "100%";
      root.replaceChildren(canvas);
      this.dispatchEvent(new Event("load"));
    } catch (error) {
      if (src !== this.asked) return;
      const line = `${src}: ${oneLine(error)}`;
      root.replaceChildren(line);
      this.dispatchEvent(new CustomEvent("error", { detail: line }));
    }
  }
}

/** Define `<onedc-img>`; more than once does no harm. */
export function defineElement(): void {
  if (!customElements.get("onedc-img")) customElements.define("onedc-img", OneDCImage);
}

/** Draw every `<img>` of the page whose address ends in .1dc, now and when one comes or changes. */
export function showImages(): MutationObserver {
  const observer = new MutationObserver((records) => {
    for (const { target, addedNodes } of records) {
      [target, ...addedNodes].forEach((node) => imagesIn(node).forEach((image) => void replaced(image)));
    }
  });
  observer.observe(document, { subtree: true, childList: true, attributeFilter: ["src"] });
  imagesIn(document).forEach((image) => void replaced(image));
  return observer;
}

function imagesIn(node: Node): HTMLImageElement[] {
  const inside = node instanceof Element || node instanceof Document ? [...node.querySelectorAll("img")] : [];
  const all = node instanceof HTMLImageElement ? [node, ...inside] : inside;
  return all.filter((image) => image.src && new URL(image.src, document.baseURI).pathname.endsWith(".1dc"));
}

async function replaced(image: HTMLImageElement): Promise<void> {
  const src = image.src;
  if (image.dataset["onedc"] === src) return;
  image.dataset["onedc"] = src;
  try {
    const { canvas, note } = await drawn(src);
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done));
    if (!blob || image.src !== src) return;
    image.title ||= note;
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.src = URL.createObjectURL(blob);
  } catch (error) {
    console.error(`${src}: ${oneLine(error)}`);
  }
}
