// Builds dist/: the library, its worker, the page and the runtime that they load, all files of one folder.
//
//     npm run build -- [--weights with-graphs.safetensors] [--out folder]
//
// Weights, those of the bundled model unless others are named, become the page's: in two files, since who only
// looks needs no encoder.
//
//     npm run page -- [--out folder]
//
// builds the script with which `onedc serve` serves the same page into the Python package, where it is committed.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { inflateSync } from "node:zlib";

const here = fileURLToPath(new URL(".", import.meta.url));
const runtime = `${here}node_modules/onnxruntime-web`;
const page = `${here}../src/onedc/serve/page`;
const text = { type: "string" };
const { values } = parseArgs({ options: { weights: text, out: text, page: { type: "boolean" } } });
const out = resolve(values.out ?? (values.page ? page : `${here}dist`));
const common = { absWorkingDir: here, outdir: out, bundle: true, format: "esm", target: "es2022", logLevel: "warning" };
if (values.page) {
  await build({ ...common, entryPoints: { page: "page/on_server.ts" } }); // not minified: people read its changes
  process.exit();
}
const weights = values.weights ?? `${here}../src/onedc/weights/small.safetensors`;
const file = await readFile(weights).catch((error) => refuse(error.message));
const ofEncoder = encoderTensors(file);

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  ...common,
  entryPoints: {
    onedc: "src/index.ts", worker: "src/worker.ts", integers: "src/integers.ts", page: "page/in_browser.ts",
  },
  splitting: true,
  minify: true,
  loader: { ".npz": "binary" },
  conditions: ["onnxruntime-web-use-extern-wasm"],
  define: { QUALITIES: `${qualitiesOf(file)}` },
});
for (const name of ["index.html", "page.css"]) await copyFile(`${page}/${name}`, `${out}/${name}`);
for (const name of ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"]) {
  for (const kind of ["mjs", "wasm"]) await copyFile(`${runtime}/dist/${name}.${kind}`, `${out}/${name}.${kind}`);
}
const { version } = JSON.parse(await readFile(`${runtime}/package.json`, "utf8"));
const notice = (await readFile(`${here}NOTICE.txt`, "utf8")).replace("VERSION", version);
await writeFile(`${out}/NOTICE.txt`, notice + (await noticeOfTaef2()));
await writeFile(`${out}/weights.safetensors`, part(file, (name) => !ofEncoder.has(name)));
await writeFile(`${out}/encoder.safetensors`, part(file, (name) => ofEncoder.has(name)));

/** How many qualities lead to different files: `Weights.qualities`. */
function qualitiesOf(file) {
  const { z_only, quality_knots } = JSON.parse(headOf(file)[0].__metadata__.config);
  return z_only ? 1 : quality_knots ? 256 : 2;
}

/** What the licence of TAEF2 asks for: all weights with graphs hold it. */
async function noticeOfTaef2() {
  const licence = await readFile(`${here}../src/onedc/weights/LICENSE-taef2.txt`, "utf8");
  return `\nThe weights hold TAEF2 (https://github.com/madebyollin/taesd), reduced and trained further:\n\n${licence}`;
}

function refuse(line) {
  console.error(line);
  process.exit(1);
}

/** The header of a safetensors file, and where its tensors begin. */
function headOf(file) {
  try {
    const start = 8 + Number(file.readBigUInt64LE(0));
    return [JSON.parse(file.subarray(8, start)), start];
  } catch {
    refuse(`${weights}: it is not a safetensors file`);
  }
}

/** The names of the encoder's graphs and of the parameters that they alone ask for. */
function encoderTensors(file) {
  const [{ __metadata__, ...tensors }, start] = headOf(file);
  const graphOf = (name) => {
    const entry = tensors[`graph.${name}`];
    if (!entry) refuse(`${weights}: it has no graphs; onedc export writes weights files that have`);
    return inflateSync(file.subarray(...entry.data_offsets.map((offset) => start + offset)));
  };
  const [ours, others] = [["stem", "analysis", "hyper"], ["latents", "pixels"]].map((names) => names.map(graphOf));
  const parameter = (name) => name.replace(/\.int8_scale$/, "");
  const wanted = Object.keys(tensors).filter((name) => asked(ours, parameter(name)) && !asked(others, parameter(name)));
  return new Set(["graph.stem", "graph.analysis", "graph.hyper", ...wanted]);
}

/** Whether a graph has a tensor of this name: field 8 of onnx.TensorProto. */
function asked(graphs, name) {
  const field = Buffer.concat([Buffer.of((8 << 3) | 2, name.length), Buffer.from(name)]);
  return graphs.some((graph) => graph.includes(field));
}

/** A safetensors file of some of another's tensors. */
function part(file, wanted) {
  const [{ __metadata__, ...tensors }, start] = headOf(file);
  const entries = { __metadata__ }, pieces = [];
  let at = 0;
  for (const [name, { data_offsets: [first, last], ...facts }] of Object.entries(tensors).filter(([name]) => wanted(name))) {
    entries[name] = { ...facts, data_offsets: [at, at + last - first] };
    pieces.push(file.subarray(start + first, start + last));
    at += last - first;
  }
  const text = Buffer.from(JSON.stringify(entries)), length = Buffer.alloc(8);
  const head = Buffer.concat([text, Buffer.alloc(-text.length & 7, " ")]);
  length.writeBigUInt64LE(BigInt(head.length));
  return Buffer.concat([length, head, ...pieces]);
}
