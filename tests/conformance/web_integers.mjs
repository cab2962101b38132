// Reads .1dc files by the browser's package, in Node.js: jobs as JSON on standard input, results on standard output.
//
// A job: {library, weights: path or null for the model of the example in docs/format.md, files: [path],
// partial: whether they may be cut}. A result: {"integers": {name: sha256}, "parts": how many of y, "again": sha256
// of the file encoded from them, of whole ones} of each file, or {"error": line, "name": class}.
import { readFileSync } from "node:fs";

const { library, weights, files, partial } = JSON.parse(readFileSync(0, "utf8"));
const onedc = await import(library);

const EXAMPLE = [0, 0, 10, 0, 30, 60, 90, 120, 120, 90, 60, 30, 200, 200, 255, 255];
const example = {
  modelId: 255,
  fingerprint: Uint8Array.from({ length: 32 }, (_, i) => i),
  levels: onedc.uniformLevels,
  seam: {
    hyper: ({ rows, columns }) => {
      const map = { channels: 1, rows, columns, data: new Float64Array(rows * columns) };
      return { features: map, semantic: map };
    },
    scan: (map, _, code) => {
      for (let part = 0; part < 4; part++) {
        code(Uint8Array.from({ length: 16 * map.data.length }, (_, i) => EXAMPLE[i % 16]));
      }
      return map;
    },
  },
};

const bytes = (path) => new Uint8Array(readFileSync(path));
const digest = (array) => onedc.toHex(onedc.sha256(new Uint8Array(array.buffer)));

async function read(path, model) {
  try {
    const read = await onedc.decodeIntegers(bytes(path), model, { partial });
    const { contents, levels, tables, values, yHat, semantic, parts } = read;
    if (partial) return { parts, integers: { y_hat: digest(yHat.data), z_semantic: digest(semantic.data) } };
    const check = contents.header.form !== "unchecked";
    const value = (indices, means, part) => values[part];
    const again = digest(await onedc.encodeIntegers(contents.header, { levels, value }, model, { check }));
    const places = levels.rows * levels.columns;
    const index = (at) => levels.values.reduce((sum, level, i) => sum + (i % places === at ? level * 4 ** Math.floor(i / places) : 0), 0);
    const found = { z_idx: Int32Array.from({ length: places }, (_, at) => index(at)), y_hat: yHat.data, z_semantic: semantic.data };
    tables.forEach((part, k) => (found[`table_idx_${k}`] = part));
    values.forEach((part, k) => (found[`symbols_${k}`] = part));
    return { again, integers: Object.fromEntries(Object.entries(found).map(([name, array]) => [name, digest(array)])) };
  } catch (error) {
    return { error: error.message, name: error.name };
  }
}

const model = weights === null ? example : new onedc.Weights(bytes(weights));
const results = [];
for (const path of files) results.push(await read(path, model));
process.stdout.write(JSON.stringify(results));
