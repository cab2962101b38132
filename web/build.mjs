// Builds dist/: the library, its worker, the page and the runtime that they load, all files of one folder.
//
//     npm run build -- [--weights light.safetensors] [--out folder]
//
// Weights, those of a light model, become the page's: in two files, since who only looks needs no encoder.
//
//     npm run page -- [--out folder]
//
// builds the script with which `onedc serve` serves the same page into the Python package, where it is committed.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

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
});
for (const name of ["index.html", "page.css"]) await copyFile(`${page}/${name}`, `${out}/${name}`);
for (const name of ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"]) {
  for (const kind of ["mjs", "wasm"]) await copyFile(`${runtime}/dist/${name}.${kind}`, `${out}/${name}.${kind}`);
}
const { version } = JSON.parse(await readFile(`${runtime}/package.json`, "utf8"));
const notice = await readFile(`${here}NOTICE.txt`, "utf8");
await writeFile(`${out}/NOTICE.txt`, notice.replace("VERSION", version));
if (values.weights) {
  const ofEncoder = (name) => /^(g_a|h_a|graph\.stem$|graph\.analysis$)/.test(name);
  const file = await readFile(values.weights);
  await writeFile(`${out}/weights.safetensors`, part(file, (name) => !ofEncoder(name)));
  await writeFile(`${out}/encoder.safetensors`, part(file, ofEncoder));
}

/** A safetensors file of some of another's tensors. */
function part(file, wanted) {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__, ...tensors } = JSON.parse(file.subarray(8, start));
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
