// Builds dist/: the library, its worker, the page and the runtime that they load, all files of one folder.
//
//     npm run build -- [--weights light.safetensors] [--out folder]
//
// Weights, those of a light model, become the page's.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));
const runtime = `${here}node_modules/onnxruntime-web`;
const { values } = parseArgs({ options: { weights: { type: "string" }, out: { type: "string" } } });
const out = resolve(values.out ?? `${here}dist`);

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: { onedc: "src/index.ts", worker: "src/worker.ts", integers: "src/integers.ts", page: "page/page.ts" },
  absWorkingDir: here,
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  loader: { ".npz": "binary" },
  conditions: ["onnxruntime-web-use-extern-wasm"],
  logLevel: "warning",
});
for (const name of ["index.html", "page.css"]) await copyFile(`${here}page/${name}`, `${out}/${name}`);
for (const name of ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"]) {
  for (const kind of ["mjs", "wasm"]) await copyFile(`${runtime}/dist/${name}.${kind}`, `${out}/${name}.${kind}`);
}
const { version } = JSON.parse(await readFile(`${runtime}/package.json`, "utf8"));
const notice = await readFile(`${here}NOTICE.txt`, "utf8");
await writeFile(`${out}/NOTICE.txt`, notice.replace("VERSION", version));
if (values.weights) await copyFile(values.weights, `${out}/weights.safetensors`);
