/** onnxruntime-web: on the graphics card where the browser lets it, else in WebAssembly. */

import type * as ort from "onnxruntime-web";
import { WeightsError, oneLine } from "./errors.ts";
import type { Bytes } from "./digest.ts";

/** Where the float networks run. */
export type Backend = "webgpu" | "wasm";

export interface RuntimeOptions {
  /** "auto": the graphics card where there is one. */
  readonly backend: Backend | "auto";
  /** Of WebAssembly; a page without the headers that threads need has one. */
  readonly threads: number;
}

type Ort = typeof ort;

/** onnxruntime-web, ready to run graphs. */
export class Runtime {
  readonly backend: Backend;
  readonly threads: number;
  private readonly ort: Ort;

  private constructor(ort: Ort, backend: Backend, threads: number) {
    this.ort = ort;
    this.backend = backend;
    this.threads = threads;
  }

  static async start(backend: Backend, threads: number): Promise<Runtime> {
    const ort: Ort = backend === "webgpu" ? await import("onnxruntime-web/jspi") : await import("onnxruntime-web/wasm");
    const count = globalThis.crossOriginIsolated ? Math.max(1, threads) : 1;
    ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
    ort.env.wasm.numThreads = count;
    ort.env.logLevel = "error";
    return new Runtime(ort, backend, count);
  }

  /** A graph that holds all its parameters. Throws WeightsError. */
  async session(name: string, graph: Bytes): Promise<ort.InferenceSession> {
    try {
      return await this.ort.InferenceSession.create(graph, { executionProviders: [this.backend], logSeverityLevel: 3 });
    } catch (error) {
      throw new WeightsError(`the graph ${name} cannot be run: ${oneLine(error)}`);
    }
  }

  floats(data: Float32Array<ArrayBuffer>, dims: readonly number[]): ort.Tensor {
    return new this.ort.Tensor("float32", data, dims);
  }

  integer(value: number): ort.Tensor {
    return new this.ort.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);
  }
}

/** Whether WebGPU can be used, in the build that suspends WebAssembly while the card works. */
export async function hasGraphicsCard(): Promise<boolean> {
  if (!("Suspending" in WebAssembly)) return false;
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<object | null> } }).gpu;
  try {
    return Boolean(await gpu?.requestAdapter());
  } catch {
    return false;
  }
}
