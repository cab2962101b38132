// src/errors.ts
var OneDCError = class extends Error {
  name = "OneDCError";
};
var FormatError = class extends OneDCError {
  name = "FormatError";
};
function oneLine(error) {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(/\s+/).join(" ").trim();
}

// src/digest.ts
var CRC32 = Int32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 3988292384 : crc >>> 1;
  return crc;
});
function fractions(count, root) {
  const primes = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  return Int32Array.from(primes, (prime) => root(prime) % 1 * 2 ** 32 | 0);
}
var ROUNDS = fractions(64, Math.cbrt);
var START = fractions(8, Math.sqrt);

// src/header.ts
var SIDE_MAX = 65535;
var MAGIC = 29;
var FORMS = { 12: "full", 11: "compact", 6: "unchecked" };
var RATIOS = [
  [1, 1],
  [3, 2],
  [2, 3],
  [4, 3],
  [3, 4],
  [16, 9],
  [9, 16],
  [5, 4],
  [4, 5],
  [2, 1],
  [1, 2],
  [8, 5],
  [5, 8],
  [20, 9],
  [9, 20]
];
var Fields = class {
  data;
  bit;
  constructor(data, start2 = 0) {
    this.data = data;
    this.bit = 8 * start2;
  }
  take(bits) {
    let value = 0;
    for (let i = 0; i < bits; i++, this.bit++) {
      const byte = this.data[this.bit >> 3];
      if (byte === void 0) throw new FormatError("the file is cut short: its header is not complete");
      value = 2 * value + (byte >> 7 - (this.bit & 7) & 1);
    }
    return value;
  }
  /** A number of variable length, of at most 5 bytes. */
  variable() {
    let value = 0;
    for (let index = 0; index < 5; index++) {
      const byte = this.take(8);
      value += (byte & 127) * 2 ** (7 * index);
      if (byte < 128 && (byte > 0 || index === 0)) return value;
      if (byte < 128) break;
    }
    throw new FormatError("header: a number is not in its shortest form");
  }
};
function beginsFile(data) {
  return formOf(data) !== void 0;
}
function formOf(data) {
  const form2 = data[0] === MAGIC ? FORMS[(data[1] ?? 0) >> 4] : void 0;
  return form2 === "full" && data[1] !== 192 ? void 0 : form2;
}
function parseHeader(data) {
  const form2 = formOf(data);
  if (form2 === void 0) {
    throw new FormatError("not a .1dc file: it does not begin with the bytes 1D C0, 1D Bx or 1D 6x");
  }
  const fields = new Fields(data, form2 === "full" ? 2 : 1);
  return form2 === "full" ? parseFull(fields) : parseCompact(fields, form2);
}
function parseFull(fields) {
  const version = fields.take(4);
  if (version !== 1) throw new FormatError(`format version ${version} is not 1: get another version of onedc`);
  const flags = fields.take(4);
  if (flags & 6) {
    throw new FormatError(`header: flags 0x${(flags & 6).toString(16)} are not defined in format version 1`);
  }
  const modelId = fields.take(8), quality2 = fields.take(8);
  fields.take(24);
  const sides = [checked("width", fields.variable()), checked("height", fields.variable())];
  const working = flags & 8 ? fields.variable() : null;
  return header(fields, { form: "full", modelId, quality: quality2, hasSections: Boolean(flags & 1), checksum: [5, 8] }, sides, working);
}
function parseCompact(fields, form2) {
  fields.take(4);
  const flags = fields.take(4);
  if (form2 === "compact") fields.take(8);
  const modelId = flags & 2 ? fields.take(8) : 1;
  const quality2 = flags & 1 ? fields.take(8) : 0;
  if (flags & 1 && !quality2) throw new FormatError("header: quality 0 is not between 1 and 255");
  const ratio = flags & 4 ? fields.take(4) : -1;
  if (ratio === RATIOS.length) throw new FormatError("header: ratio 15 is not between 0 and 14");
  const shrunk = Boolean(flags & 8);
  const sides = flags & 4 ? sized(checked("longer", fields.take(shrunk ? 16 : 12) + 1), RATIOS[ratio]) : bothSides(fields, shrunk ? 14 : 12);
  const working = shrunk ? fields.take(12) + 1 : null;
  if (ratio !== ratioOf(sides) || flags & 2 && modelId === 1) {
    throw new FormatError("header: it is not in its shortest form");
  }
  const checksum = form2 === "compact" ? [2, 3] : [0, 0];
  return header(fields, { form: form2, modelId, quality: quality2, hasSections: false, checksum }, sides, working);
}
function bothSides(fields, bits) {
  const width = fields.take(bits) + 1;
  return [width, fields.take(bits) + 1];
}
function header(fields, facts, sides, working) {
  const length = fields.bit / 8;
  if (working === null) return { ...facts, width: sides[0], height: sides[1], original: null, length };
  if (working < 1 || working >= Math.max(...sides)) {
    throw new FormatError(`header: a longer side of ${working} is not ${sides[0]}x${sides[1]} shrunk`);
  }
  const [width, height] = sized(working, sides);
  return { ...facts, width, height, original: sides, length };
}
function checked(name, side) {
  if (side < 1 || side > SIDE_MAX) throw new FormatError(`header: ${name} ${side} is not between 1 and ${SIDE_MAX}`);
  return side;
}
function sized(longer, [a, b]) {
  const most = Math.max(a, b), least = Math.min(a, b);
  const shorter = Math.max(1, Math.floor((2 * longer * least + most) / (2 * most)));
  return a >= b ? [longer, shorter] : [shorter, longer];
}
function ratioOf(sides) {
  return RATIOS.findIndex((ratio) => sized(Math.max(...sides), ratio).join() === sides.join());
}

// src/container.ts
var ALPHA = 3;
var PROFILE = 129;
var EXIF = 130;
var NAMES = { [ALPHA]: "alpha", [PROFILE]: "ICC profile", [EXIF]: "EXIF" };
var COMPACT_MOST_BYTES = 1024;
var MAX_PIXELS = 2 ** 26;
function info(data) {
  const { header: header2, sections } = takeApart(data);
  return {
    width: header2.width,
    height: header2.height,
    originalWidth: header2.original?.[0] ?? null,
    originalHeight: header2.original?.[1] ?? null,
    sizeBytes: data.length,
    bpp: 8 * data.length / (header2.width * header2.height),
    quality: qualityOf(header2.quality),
    modelId: header2.modelId,
    form: header2.form === "full" ? "full" : "compact",
    checkBits: 8 * (header2.checksum[1] - header2.checksum[0]),
    sections: [...sections.keys()].map((id) => NAMES[id] ?? `unknown ${id}`),
    note: noteOf(header2, header2.quality)
  };
}
function qualityOf(byte) {
  return Math.round(byte * 1e3 / 255) / 10;
}
function noteOf({ modelId }, quality2, { parts = 4, verified = true } = {}) {
  const cut = parts === 4 ? "" : ` (from ${parts} of 4 parts)`;
  const layer2 = quality2 ? cut : " (the semantic layer alone)";
  const doubt = verified ? "" : "; the file was not verified";
  return `details are generated by onedc model ${modelId} at quality ${qualityOf(quality2)}${layer2}: plausible, not evidence${doubt}`;
}
function takeApart(data) {
  const header2 = parseHeader(data);
  if (header2.form === "compact" && data.length > COMPACT_MOST_BYTES) {
    throw new FormatError(
      `${data.length} bytes in the compact form, which holds ${COMPACT_MOST_BYTES}: the file is damaged`
    );
  }
  if (!header2.hasSections) return { header: header2, sections: /* @__PURE__ */ new Map(), payload: data.subarray(header2.length) };
  const [sections, start2] = splitSections(data, header2.length);
  return { header: header2, sections, payload: data.subarray(start2) };
}
function splitSections(data, start2) {
  const sections = /* @__PURE__ */ new Map();
  for (let at = start2, last = 0; ; ) {
    const id = data[at];
    if (id === void 0) throw new FormatError("the file is cut short: its sections are not complete");
    if (id === 0 && sections.size) return [sections, at + 1];
    if (id <= last) throw new FormatError(`section ${id} is out of order, or there is none`);
    if (!(id in NAMES) && id < 128) {
      throw new FormatError(`section ${id} is unknown to this version of onedc and may not be skipped`);
    }
    const fields = new Fields(data, at + 1);
    const length = fields.variable();
    at = fields.bit / 8;
    if (length > data.length - at) throw new FormatError(`the file is cut short: section ${id} is not complete`);
    sections.set(id, data.subarray(at, at + length));
    at += length;
    last = id;
  }
}

// page/view.ts
function element(id) {
  return document.getElementById(id);
}
var KEY_PERCENT = 2;
var compare = element("compare");
var split = element("split");
var addresses = [];
function clear() {
  element("result").hidden = true;
  element("layer").hidden = element("show-layer").hidden = true;
  compare.classList.add("single");
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = [];
}
function showPicture(picture, width, height, doubt) {
  fill("right", picture);
  element("right-name").textContent = doubt ? "Incomplete" : "Decoded";
  element("doubt").textContent = doubt;
  element("doubt").hidden = !doubt;
  compare.style.setProperty("--ratio", `${width / height}`);
  compare.style.setProperty("--width", `${width}`);
  element("result").hidden = false;
}
function showBeside(picture, name, background2) {
  const left = fill("left", picture);
  Object.assign(left, { alt: name }).style.background = background2;
  element("left-name").textContent = name;
  split.value = "50";
  moveSplit();
  compare.classList.remove("single");
}
function showLayer(picture) {
  fill("preview", picture);
  element("layer").hidden = false;
  element("show-layer").hidden = true;
}
async function pixelsOf(picture) {
  try {
    const bitmap = await createImageBitmap(picture), { width, height } = bitmap;
    bitmap.close();
    return width * height;
  } catch {
    return 0;
  }
}
function fill(id, picture) {
  return Object.assign(element(id), { src: addressOf(picture) });
}
function addressOf(content) {
  const address = URL.createObjectURL(content);
  addresses.push(address);
  return address;
}
function showFacts(facts) {
  const cards = facts.map(([name, value, remark]) => {
    const card = document.createElement("div");
    card.append(made("dt", name), made("dd", value));
    if (remark) card.lastElementChild.append(made("span", remark, "remark"));
    return card;
  });
  element("facts").replaceChildren(...cards);
}
function factsOf(found, isWhole) {
  const { width, height, originalWidth, originalHeight, checkBits: bits } = found;
  const check = isWhole ? ["intact", `by ${bits} bits`] : ["fails", "damaged or cut short"];
  return [
    ["File", `${found.sizeBytes.toLocaleString("en")} bytes`, `model ${found.modelId}`],
    ["Rate", `${found.bpp.toFixed(4)} bpp`, "bits per pixel"],
    ["Picture", `${width} x ${height}`, originalWidth ? `shrunk from ${originalWidth} x ${originalHeight}` : "pixels"],
    ["Quality", `${found.quality}`, found.quality ? "of 100" : "the semantic layer alone"],
    ["Check", ...bits ? check : [isWhole ? "unverified" : "cut short", "the file has no check"]]
  ];
}
function made(tag, text, className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}
function offer(name, data, picture, isWhole) {
  const stem = name.replace(/\.\w+$/, "");
  Object.assign(element("save-file"), { href: addressOf(new Blob([data])), download: `${stem}.1dc` });
  Object.assign(element("save"), { href: addressOf(picture), download: `${stem}${isWhole ? "" : "-incomplete"}.png` });
}
function moveSplit() {
  compare.style.setProperty("--split", `${split.value}%`);
}
split.addEventListener("input", moveSplit);
split.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -KEY_PERCENT, ArrowRight: KEY_PERCENT }[event.key];
  if (!step) return;
  event.preventDefault();
  split.value = `${Number(split.value) + step}`;
  moveSplit();
});
element("full-screen").addEventListener("click", () => void compare.parentElement.requestFullscreen());

// page/page.ts
var form = element("form");
var drop = element("drop");
var input = element("file");
var quality = element("quality");
var bytes = element("bytes");
var background = element("background");
var again = element("encode");
var layer = element("show-layer");
var stop = element("stop");
var steps = element("steps");
var clock = element("clock");
var TICK_MS = 1e3;
var LARGE_PX = 1e6;
var LEAST_QUALITIES = 3;
var coder;
var running = new AbortController();
var photo = null;
var aside = "";
var loading = "";
function start(by) {
  coder = by;
  document.body.dataset.by = by.by;
  document.querySelectorAll(".address").forEach((place) => place.textContent = new URL(".", location.href).href);
  choose();
  void by.qualities().then((count) => document.body.dataset.rates = count < LEAST_QUALITIES ? "one" : "many");
}
function open(file) {
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
async function contentOf(file) {
  try {
    return await file.arrayBuffer();
  } catch {
    throw new OneDCError("it cannot be read: is it a folder, or gone?");
  }
}
async function run(name, work) {
  running.abort();
  const { signal } = running = new AbortController();
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
async function openPhoto(file, job) {
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
  const shrunk = ["Smaller", `${times} times`, `than ${file.size.toLocaleString("en")} bytes`];
  show(file.name, data, decoded, [shrunk, time("Encoding", encoded)]);
  const original = pixels ? file : await coder.shown(file, under, job);
  job.signal.throwIfAborted();
  showBeside(original, "Original", under);
  const end = `${file.name}: encoded in ${data.length.toLocaleString("en")} bytes.`;
  await offerLayer(file.name, end, job, async (job2) => void await showSemantic(data, { fullSize: true, partial: false }, job2));
}
async function openFile(name, data, job) {
  say(`Decoding ${name}`, { step: 1 });
  const wish = { preview: false, fullSize: false, partial: false };
  let decoded, doubt = "";
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
  await offerLayer(name, end, job, async (job2) => {
    showBeside(await showSemantic(data, wish, job2), "Semantic layer", "none");
  });
}
function show(name, data, decoded, facts, doubt = "") {
  const found = info(data);
  showPicture(decoded.content, found.width, found.height, doubt);
  showFacts([...factsOf(found, !doubt), ...facts, time("Decoding", decoded)]);
  offer(name, data, decoded.content, !doubt);
}
async function offerLayer(name, end, job, work) {
  const all = async (job2) => {
    await work(job2);
    say(end + aside);
  };
  if (coder.isFast) return all(job);
  say(end + aside);
  layer.hidden = false;
  layer.onclick = () => void run(name, all);
}
async function showSemantic(data, how, job) {
  say("Decoding the semantic layer", { step: 2 });
  const { content } = await coder.decode(data, { ...how, preview: true }, job);
  job.signal.throwIfAborted();
  showLayer(content);
  return content;
}
function time(name, { seconds, by = "" }) {
  return [name, `${seconds.toFixed(2)} s`, by];
}
function aim() {
  if (document.body.dataset.rates === "one") return { quality: Number(quality.value) };
  if (!form.reportValidity()) throw new OneDCError("the bytes must be a whole number above 0");
  return chosen() === "bytes" ? { targetBytes: Number(bytes.value) } : { quality: Number(quality.value) };
}
function chosen() {
  return new FormData(form).get("by");
}
function choose() {
  const byBytes = chosen() === "bytes";
  element("by-bytes").hidden = bytes.disabled = !byBytes;
  element("by-quality").hidden = quality.disabled = byBytes;
  element("quality-value").textContent = quality.value === "0" ? "0, the semantic layer alone" : quality.value;
}
function say(text, { failed = false, step = null } = {}) {
  const line = element("status");
  line.textContent = text;
  line.classList.toggle("error", failed);
  steps.hidden = stop.hidden = step === null;
  Object.assign(steps, { max: 3, value: step ?? 0 });
  clock.textContent = "";
}
function onLoading({ bytes: bytes2, total }) {
  const megabytes = (bytes3) => (bytes3 / 1e6).toFixed(1);
  loading = bytes2 === total ? "" : `loading the model: ${megabytes(bytes2)}${total ? ` of ${megabytes(total)}` : ""} MB`;
}
async function tick(begun, signal) {
  const others = (await coder.jobs?.().catch(() => 0) ?? 1) - 1;
  if (signal.aborted || steps.hidden) return;
  const jobs = others > 0 ? `the server has ${others} more job${others > 1 ? "s" : ""}` : "";
  const seconds = Math.round((performance.now() - begun) / 1e3);
  clock.textContent = [`${seconds} s`, loading, jobs].filter(Boolean).join("; ");
}
function take(files) {
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
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragover");
    if (type === "drop") take(event.dataTransfer?.files);
  });
}

// page/on_server.ts
start({
  by: "server",
  isFast: true,
  async qualities() {
    return (await status()).qualities;
  },
  async encode(photo2, aim2, background2, { signal }) {
    const rate = "quality" in aim2 ? { quality: `${aim2.quality}` } : { target_bytes: `${aim2.targetBytes}` };
    const answer = await post("encode", photo2, { ...rate, background: background2 }, signal);
    return { content: new Uint8Array(await answer.arrayBuffer()), seconds: secondsOf(answer) };
  },
  async decode(data, { preview, fullSize, partial }, { signal }) {
    const query = { preview: `${preview}`, full_size: `${fullSize}`, partial: `${partial}` };
    const answer = await post("decode", data, query, signal);
    return { content: await answer.blob(), seconds: secondsOf(answer), note: answer.headers.get("Onedc-Note") ?? "" };
  },
  async shown(photo2, background2, { signal }) {
    return (await post("read", photo2, { background: background2 }, signal)).blob();
  },
  async jobs() {
    return (await status()).jobs;
  }
});
async function status() {
  return (await fetch("status")).json();
}
async function post(route, body, query, signal) {
  let answer;
  try {
    const { upload_bytes: most } = await status();
    if ((body instanceof Blob ? body.size : body.length) > most) {
      throw new OneDCError(`the file has more than the ${most.toLocaleString("en")} bytes allowed here`);
    }
    answer = await fetch(`${route}?${new URLSearchParams(query)}`, {
      method: "POST",
      body,
      signal,
      headers: { "Content-Type": "application/octet-stream" }
    });
  } catch (error) {
    throw signal.aborted || error instanceof OneDCError ? error : new OneDCError("the server does not answer");
  }
  if (!answer.ok) throw new (answer.status === 400 ? FormatError : OneDCError)(await refusal(answer));
  return answer;
}
async function refusal(answer) {
  try {
    return (await answer.json()).detail.replace(/^picture: /, "");
  } catch {
    return `the server answers ${answer.status} ${answer.statusText}`.trim();
  }
}
function secondsOf(answer) {
  return Number(/codec;dur=([\d.]+)/.exec(answer.headers.get("Server-Timing") ?? "")?.[1]) / 1e3;
}
