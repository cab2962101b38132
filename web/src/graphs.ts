/**
 * ONNX graphs with their parameters: a weights file holds a graph without values, and the values beside it by name.
 *
 * Knows as much of protocol buffers as it takes to put one into the other.
 */

import { WeightsError } from "./errors.ts";
import { joined } from "./inflate.ts";
import type { Bytes } from "./digest.ts";

// Field numbers of onnx.proto.
const MODEL_GRAPH = 7, MODEL_METADATA = 14, GRAPH_NODE = 1, GRAPH_INITIALIZER = 5;
const NODE_ATTRIBUTE = 5, ATTRIBUTE_NAME = 1, ATTRIBUTE_INTEGER = 3, ATTRIBUTE_TENSOR = 5;
const TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW_DATA = 9, TENSOR_EXTERNAL_DATA = 13, TENSOR_DATA_LOCATION = 14;
const ENTRY_KEY = 1, ENTRY_VALUE = 2;
/** Types of values. */
const FLOAT = 1, DOUBLE = 11;
/** The wire type of fields that state their length. */
const DELIMITED = 2;

interface Field {
  readonly number: number;
  /** With the field's key. */
  readonly whole: Bytes;
  /** What a field of stated length holds; empty for others. */
  readonly body: Bytes;
}

/** A graph whose external tensors hold their values. Throws WeightsError. */
export function withParameters(graph: Bytes, parameter: (name: string) => Float32Array<ArrayBuffer>): Bytes {
  return rewritten(graph, MODEL_GRAPH, (body) =>
    rewritten(body, GRAPH_INITIALIZER, (tensor) => {
      const fields = fieldsOf(tensor);
      if (!fields.some(({ number }) => number === TENSOR_EXTERNAL_DATA)) return tensor;
      const values = parameter(textOf(fields, TENSOR_NAME));
      const kept = fields.filter(({ number }) => number !== TENSOR_EXTERNAL_DATA && number !== TENSOR_DATA_LOCATION);
      return concatenated([...kept.map(({ whole }) => whole), ...delimited(TENSOR_RAW_DATA, new Uint8Array(values.buffer))]);
    }),
  );
}

/**
 * A graph that computes in float32 what it has in float64, for devices without the latter.
 *
 * Models have it in the last step to the latents, whose rounding is far below a step of a pixel.
 */
export function inSinglePrecision(graph: Bytes): Bytes {
  return rewritten(graph, MODEL_GRAPH, (body) =>
    rewritten(body, GRAPH_NODE, (node) =>
      rewritten(node, NODE_ATTRIBUTE, (attribute) => {
        const casts = textOf(fieldsOf(attribute), ATTRIBUTE_NAME) === "to";
        const cast = casts ? withType(attribute, ATTRIBUTE_INTEGER) : attribute;
        return rewritten(cast, ATTRIBUTE_TENSOR, singleTensor);
      }),
    ),
  );
}

function singleTensor(tensor: Bytes): Bytes {
  const single = withType(tensor, TENSOR_TYPE);
  if (single === tensor) return tensor;
  return rewritten(single, TENSOR_RAW_DATA, (values) => {
    return new Uint8Array(new Float32Array(new Float64Array(values.slice().buffer)).buffer);
  });
}

/** A message whose type, a number in field `number`, is float where it was double. */
function withType(message: Bytes, number: number): Bytes {
  const fields = fieldsOf(message);
  const isDouble = (field: Field) => field.number === number && field.whole[1] === DOUBLE;
  if (!fields.some(isDouble)) return message;
  return concatenated(fields.map((field) => (isDouble(field) ? Uint8Array.of(field.whole[0]!, FLOAT) : field.whole)));
}

/** What a graph's metadata says under a key; null: nothing. Throws WeightsError. */
export function metadataOf(graph: Bytes, key: string): string | null {
  for (const { number, body } of fieldsOf(graph)) {
    if (number !== MODEL_METADATA) continue;
    const entry = fieldsOf(body);
    if (textOf(entry, ENTRY_KEY) === key) return textOf(entry, ENTRY_VALUE);
  }
  return null;
}

/** A message with one of its fields changed wherever it stands. */
function rewritten(message: Bytes, number: number, change: (body: Bytes) => Bytes): Bytes {
  return concatenated(
    fieldsOf(message).flatMap((field) => (field.number === number ? delimited(number, change(field.body)) : [field.whole])),
  );
}

function textOf(fields: readonly Field[], number: number): string {
  const found = fields.find((field) => field.number === number);
  return new TextDecoder().decode(found?.body);
}

function concatenated(pieces: readonly Bytes[]): Bytes {
  return joined(pieces, pieces.reduce((sum, { length }) => sum + length, 0));
}

/** A field of stated length, in pieces. */
function delimited(number: number, body: Bytes): Bytes[] {
  return [varint(8 * number + DELIMITED), varint(body.length), body];
}

function varint(value: number): Bytes {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Uint8Array.of(...bytes, value);
}

function fieldsOf(message: Bytes): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const number = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new WeightsError("a graph is damaged");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const start = at, key = number(), type = key % 8;
    const lengths: Record<number, () => number> = { 0: () => (number(), 0), 1: () => 8, [DELIMITED]: number, 5: () => 4 };
    const length = lengths[type]?.();
    const from = at;
    at += length ?? NaN;
    if (!(at <= message.length)) throw new WeightsError("a graph is damaged");
    fields.push({
      number: Math.floor(key / 8),
      whole: message.subarray(start, at),
      body: message.subarray(from, type === DELIMITED ? at : from),
    });
  }
  return fields;
}
