/** A weights file: its integers with their digest, its graphs and the parameters of the float networks. */

import { Sha256, sha256, toHex, type Bytes } from "./digest.ts";
import { WeightsError } from "./errors.ts";
import { inflate, joined } from "./inflate.ts";
import { LearnedLevels, uniformLevels, type LevelCode } from "./levels.ts";
import {
  floatsOf,
  integersOf,
  readSafetensors,
  type IntegerTensor,
  type Safetensors,
  type StoredTensor,
} from "./safetensors.ts";
import { Seam } from "./seam.ts";
import { TABLES_DIGEST } from "./tables.ts";

const FORMAT = "onedc-weights-1", SEAM = "seam.", Z_PRIOR = "z_prior.", GRAPH = "graph.", SCALE = ".int8_scale";
/** The constants of the integer arithmetic, as the digest covers them. */
const CONSTANTS = `('${FORMAT}', 14, 16, 16, 134217728)\n`;
const TYPES: Record<string, string> = { I16: "<i2", I32: "<i4", I64: "<i8" };
const MOST_GRAPH_BYTES = 2 ** 26;

export class Weights {
  readonly modelId: number;
  /** Of the integers that a file's bits depend on. */
  readonly fingerprint: Bytes;
  readonly seam: Seam;
  readonly levels: LevelCode;
  /** The quality bytes that lead to different files, lowest first. */
  readonly qualities: readonly number[];
  private readonly digest: string;
  private readonly tensors: Map<string, StoredTensor>;

  /** Throws WeightsError. */
  constructor(file: Bytes) {
    const { metadata, tensors } = readSafetensors(file);
    this.tensors = new Map(tensors);
    this.modelId = Number(metadata["model_id"] ?? NaN);
    if (metadata["format"] !== FORMAT || !(this.modelId >= 0 && this.modelId <= 255)) {
      throw new WeightsError("it is not a onedc weights file");
    }
    const digest = digestOf({ metadata, tensors });
    this.digest = toHex(digest);
    if (this.digest !== metadata["seam_sha256"]) {
      throw new WeightsError("the integers do not match their digest; the file is damaged");
    }
    this.fingerprint = sha256(joined([TABLES_DIGEST, digest], 64));
    this.seam = new Seam(this.integers(SEAM));
    const prior = this.integers(Z_PRIOR);
    this.levels = prior.size ? new LearnedLevels(prior) : uniformLevels;
    this.qualities = qualitiesOf(metadata, this.seam);
  }

  /** Whether the encoder's networks are there. */
  get encodes(): boolean {
    return this.tensors.has(`${GRAPH}stem`);
  }

  /** Take the tensors of another part of the same weights too. Throws WeightsError. */
  add(file: Bytes): void {
    const { metadata, tensors } = readSafetensors(file);
    if (metadata["seam_sha256"] !== this.digest) throw new WeightsError("it belongs to another model");
    tensors.forEach((tensor, name) => this.tensors.set(name, tensor));
  }

  /** The ONNX graph of a name. Throws WeightsError. */
  async graph(name: string): Promise<Bytes> {
    const stored = this.tensors.get(GRAPH + name);
    if (!stored) throw new WeightsError(`the graph ${name} is missing: this model only runs in Python`);
    const graph = await inflate(stored.bytes, "deflate", MOST_GRAPH_BYTES);
    if (!graph) throw new WeightsError(`the graph ${name} is damaged`);
    return graph;
  }

  /** A parameter of the float networks as float32, in its stored order. Throws WeightsError. */
  parameter(name: string): Float32Array<ArrayBuffer> {
    const stored = this.tensors.get(name);
    if (!stored) throw new WeightsError(`tensor ${name} is missing`);
    const values = floatsOf(name, stored);
    const scale = this.tensors.get(name + SCALE);
    if (!scale) return values;
    const scales = floatsOf(name + SCALE, scale), row = values.length / scales.length;
    scales.forEach((scale, index) => {
      for (let i = index * row; i < (index + 1) * row; i++) values[i] = values[i]! * scale;
    });
    return values;
  }

  private integers(prefix: string): Map<string, IntegerTensor> {
    const found = new Map<string, IntegerTensor>();
    for (const [name, tensor] of this.tensors) {
      if (name.startsWith(prefix)) found.set(name.slice(prefix.length), integersOf(name, tensor));
    }
    return found;
  }
}

/** Of a model of z alone, of one rate, and of all rates. Throws WeightsError. */
function qualitiesOf({ config = "{}" }: Safetensors["metadata"], { isGraded }: Seam): number[] {
  let zOnly: unknown;
  try {
    ({ z_only: zOnly } = JSON.parse(config) as { z_only?: unknown });
  } catch {
    throw new WeightsError("its configuration is damaged");
  }
  if (zOnly) return [0];
  return isGraded ? Array.from({ length: 256 }, (_, byte) => byte) : [0, 255];
}

/** SHA-256 over the integers of the seam and the prior of z with their names: section 4.8. */
function digestOf({ tensors }: Safetensors): Bytes {
  const digest = new Sha256(), text = new TextEncoder();
  digest.update(text.encode(CONSTANTS));
  const digested = [...tensors].filter(([name]) => name.startsWith(SEAM) || name.startsWith(Z_PRIOR));
  const named = digested.map(([name, tensor]) => [name.replace(/^seam\./, ""), tensor] as const);
  for (const [name, { dtype, shape, bytes }] of named.sort(([a], [b]) => (a < b ? -1 : 1))) {
    const sides = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
    digest.update(text.encode(`${name} ${TYPES[dtype]} (${sides})\n`)).update(bytes);
  }
  return digest.digest();
}
