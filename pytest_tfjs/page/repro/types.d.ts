// What the reproducer's page reads (reproducer.json) and works with.

import type { DType, TF as HarnessTF, Tensor } from "../types";

export type { Tensor };

export interface TF extends Omit<HarnessTF, "loadGraphModel" | "loadLayersModel" | "tensor"> {
  loadGraphModel(url: string): Promise<GraphModel>;
  loadLayersModel(url: string): Promise<LayersModel>;
  tensor(data: Data, shape: number[], dtype: DType): Tensor;
}
export interface GraphModel {
  execute(inputs: Record<string, Tensor>, outputs: string[]): Tensor[] | Tensor;
  executeAsync(inputs: Record<string, Tensor>, outputs: string[]): Promise<Tensor[] | Tensor>;
}
export interface LayersModel {
  predictOnBatch(inputs: Tensor[]): Tensor[] | Tensor;
}

export type Data = Float32Array | Int32Array | Uint8Array;
export interface Values {
  dtype: string;
  shape: number[];
  data: Data;
}
export interface Place {
  at: number;
  error: number;
  share: number;
  allowed: number;
}
export interface ElementCheck {
  elements: number;
  wrong: number;
  maxAbs: number;
  /** The root mean square of the errors, and whether it is over what is allowed. */
  rms: number;
  exceedsRms: boolean;
  /** The worst elements, the worst first. */
  worst: Place[];
  reason: string | null;
}

export interface FileOf {
  file: string;
  dtype: DType;
  shape: number[];
}
export interface Target {
  name: string;
  backend: string;
  flags: Record<string, boolean | number>;
  scripts: string[];
}
export interface Description {
  layer: string;
  format: "graph" | "layers";
  model: string;
  /** Of a graph model the tensor that is the output. */
  tensor: string | null;
  target: string;
  targets: Target[];
  wasmDirectory: string;
  inputs: (FileOf & { name: string; standsFor: string })[];
  reference: FileOf;
  browser: FileOf;
  /** A float64 for each element of the reference. */
  allowed: { file: string };
  rmsAllowed: number | null;
  environment: Record<string, string>;
  diagnosis: { said: string; evidence: string[] } | null;
  operations: unknown[];
}
