// Types of TF.js and of the job protocol, as far as the page uses them. TF.js's own types do not fit: the page loads
// the version that the user ships, and uses parts that are not in its public types.

export type DType = "float32" | "int32" | "bool" | "complex64" | "string";
export type Data = Float32Array | Int32Array | Uint8Array | string[];

export interface Tensor {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: DType;
  /** What tensors with the same values share. */
  readonly dataId: object;
  data(): Promise<Data>;
  dataSync(): Data;
  dispose(): void;
  clone(): Tensor;
}
export type Outputs = Tensor | Tensor[];

export interface SymbolicTensor {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly sourceLayer: Layer;
  readonly nodeIndex: number;
}
export interface LayerNode {
  readonly id: number;
  outboundLayer: Layer;
  inputTensors: SymbolicTensor[];
  outputTensors: SymbolicTensor[];
}
export interface Layer {
  name: string;
  inboundNodes: LayerNode[];
  layers?: Layer[];
  getClassName(): string;
  call?: Function;
  apply(inputs: SymbolicTensor | SymbolicTensor[]): SymbolicTensor | SymbolicTensor[];
  apply(inputs: Tensor[], kwargs?: Record<string, unknown>): Outputs;
  supportsMasking?: boolean;
  /** Whether the layer keeps a state between runs; of a nested model, whether one of its layers does. */
  stateful?: boolean;
  resetStates?(): void;
  states_?: Tensor[] | null;
  keptStates?: Tensor[][];
  forwardLayer?: Layer;
  backwardLayer?: Layer;
  computeMask?(inputs: Tensor[], masks: Mask[]): Mask | Mask[];
}
export type Mask = Tensor | null;
export interface LayersModel extends Layer {
  layers: Layer[];
  inputs: SymbolicTensor[];
  outputs: SymbolicTensor[];
  predict(inputs: Outputs): Outputs;
  predictOnBatch(inputs: Outputs): Outputs;
  dispose(): unknown;
}

export interface GraphNode {
  name: string;
  op: string;
  category: string;
  inputs: GraphNode[];
  inputNames: string[];
  defaultOutput?: number;
  attrParams?: Record<string, { type: string; value?: unknown }>;
}
export interface Graph {
  nodes: Record<string, GraphNode>;
  inputs: GraphNode[];
  outputs: GraphNode[];
  functions?: Record<string, Graph>;
}
export interface TensorInfo {
  name: string;
  resourceId?: unknown;
}
export interface GraphModel {
  inputs: { name: string }[];
  outputNodes: string[];
  modelSignature?: { inputs?: Record<string, TensorInfo>; outputs?: Record<string, TensorInfo> };
  executor: { graph: Graph; weightMap: Record<string, Tensor[]>; checkInputShapeAndType?: Function };
  execute(inputs: Record<string, Tensor>, outputs?: string[]): Outputs;
  executeAsync(inputs: Record<string, Tensor>, outputs?: string[]): Promise<Outputs>;
  dispose(): void;
}

export interface ModelArtifacts {
  weightData?: ArrayBuffer | ArrayBuffer[];
  weightSpecs?: { name: string; dtype: string }[];
  modelTopology?: unknown;
  modelInitializer?: unknown;
}
export interface IOHandler {
  load(): Promise<ModelArtifacts>;
}
interface HttpOptions {
  fetchFunc: typeof fetch;
  weightUrlConverter: (path: string) => Promise<string>;
}

export interface TF {
  version: { tfjs?: string; "tfjs-core"?: string };
  env(): { set(flag: string, value: unknown): void; get(flag: string): unknown };
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  getBackend(): string;
  getKernelsForBackend(name: string): { kernelName: string }[];
  backend(): Backend;
  wasm?: { setWasmPaths(prefix: string): void; setThreadsCount(count: number): void; getThreadsCount?(): number };
  io: { http(url: string, options: HttpOptions): IOHandler; fromMemory(artifacts: ModelArtifacts): IOHandler };
  loadGraphModel(source: IOHandler): Promise<GraphModel>;
  loadLayersModel(source: IOHandler): Promise<LayersModel>;
  model(args: { inputs: SymbolicTensor[]; outputs: SymbolicTensor[]; name: string }): LayersModel;
  tensor(data: Data, shape: number[], dtype: DType): Tensor;
  complex(real: Tensor, imaginary: Tensor): Tensor;
  tidy<T>(work: () => T): T;
  dispose(tensors: Tensor[]): void;
  disposeVariables(): void;
  engine(): { startScope(name: string): void; endScope(): void };
  memory(): Record<string, unknown> & { numTensors: number };
  layers: { Layer: { prototype: Layer } & Function };
  LayerVariable: { prototype: { originalName: string; write(value: Tensor): unknown } };
  serialization: { SerializationMap: { getMap(): { classNameMap: Record<string, [Function, FromConfig]> } } };
}
export type FromConfig = (cls: Function, config: unknown, ...rest: unknown[]) => unknown;

export interface Backend {
  gpgpu?: { gl: WebGL2RenderingContext };
  device?: GPUDevice;
  adapterInfo?: AdapterInfo;
  /** Of webgl and webgpu: whether a kernel computes these tensors in JavaScript. */
  shouldExecuteOnCPU?(inputs: { dtype: DType }[], ...rest: unknown[]): boolean;
}
export interface AdapterInfo {
  vendor?: string;
  architecture?: string;
  device?: string;
  description?: string;
  isFallbackAdapter?: boolean;
}
export interface GPUDevice {
  readonly lost: Promise<{ reason: string; message: string }>;
  addEventListener(type: "uncapturederror", listener: (event: { error: Error }) => void): void;
  /** Not in all browsers. */
  readonly adapterInfo?: AdapterInfo;
}

/** A tensor outside TF.js. Of complex64, `data` holds real and imaginary parts in turn. */
export interface HostTensor {
  dtype: DType;
  shape: number[];
  data: Data;
}

export interface Setup {
  backend: string;
  flags: Record<string, boolean | number>;
  scripts: string[];
  wasmDirectory: string;
}
export interface Tap {
  name: string;
  address: { node?: string | number; tensor?: number; path?: (string | [string, number])[] };
  /** How its layer is run alone; null where it is not. */
  alone: GraphPlan | LayersPlan | null;
}

/** What a tensor is fed: the reference of a row, or an input of the feed. */
export type Fed = { row: string } | { input: string };
/** Format graph: what each tensor is fed, by its name. `rows`: those whose reference is fetched. */
export interface GraphPlan {
  rows: string[];
  fed: [string, Fed][];
}
/** Format layers: calls of layers, of which the last one gives the tensor as its `output`. */
export interface LayersPlan {
  rows: string[];
  steps: Step[];
  output: number;
}
/** A call of a layer, by its path through nested models and its inbound node; a mask is that of another step's output. */
export interface Step {
  layer: string[];
  node: number;
  inputs: (Fed | { step: number; output: number })[];
  masks: (number | null)[];
}
export interface TimingPlan {
  warmup: number;
  runs: number;
  budgetMs: number;
}
export interface Job {
  job: number;
  artifacts: string;
  format: "graph" | "layers";
  feeds: number;
  chunks: Tap[][];
  /** The model's outputs: before the chunks the page sends them from `plainRuns` runs as in an app. */
  outputs: Tap[];
  plainRuns: number;
  timing: TimingPlan | null;
  chunkLimit: number;
  /** Whether each layer of a chunk that has a plan also runs alone. */
  alone: boolean;
}

/** A loaded model of either format. The caller disposes of all tensors that it gives. */
export interface Model {
  /** Forget the state that earlier runs left in the layers: call this before each run. */
  reset(): void;
  /** The outputs, computed as in an app. */
  run(feed: Map<string, Tensor>): Promise<Tensor[]>;
  /** The index of each tap among the tensors of run(); -1 where it is not one of them. */
  places(taps: Tap[]): number[];
  /** The activations of the taps, in their order, from one pass; several taps may have one tensor. */
  tap(feed: Map<string, Tensor>, taps: Tap[]): Promise<Tensor[]>;
  /** A function that computes taps alone. Call this before the first run, as it watches the model's own calls. */
  aloneRunner(): RunAlone;
  /** The model's constants by name; empty where no kernel can write into them. */
  constants(): Map<string, Constant>;
  /** Whether the model is computing a shape at the moment: see shape_arithmetic.js. */
  inShapes(): boolean;
  /** Name and class of every layer, or name and op of every node. */
  describe(): { name: string; class: string; path?: string[] }[];
  /** The nodes whose kernel the backend does not have, as far as that is known before they run. */
  lacks(): Need[];
  /** Watch what is computed from now on. Gives a function that returns the layer that threw, or the last node. */
  watch(): () => Watched | null;
  /** Whether the node of this name is computed for these taps. */
  computes(taps: Tap[], name: string): boolean;
  /** The node that computes a tap; null where this does not tell more than `watch`. */
  layerOf(tap: Tap): Watched | null;
  /** Descriptions of what a node takes; null where they are not known. */
  inputsOf(name: string, feed: Map<string, Tensor>): Promise<string[] | null>;
  dispose(): void;
}

/** A constant of a graph model; `written`: whether a kernel takes it that is known to write into its input. */
export interface Constant {
  tensor: Tensor;
  written: boolean;
}

/** Computes a tap alone, from references by layer and the feed by input. The caller disposes of the tensor. */
export interface RunAlone {
  (tap: Tap, rows: Map<string, Tensor>, feed: Map<string, Tensor>): Promise<Tensor>;
  /** The taps whose layer ran without the mask that Keras gives it, as in the whole model. */
  withoutMask?: Set<string>;
}

/** A kernel, and the node, layer or weight that needs it; null where that is not known. */
export interface Need {
  layer: string | null;
  kernel: string;
}

/** A layer or node that was being computed; `inputs` describe what it took, null where that is not known. */
export interface Watched {
  name: string;
  class: string;
  inputs: string[] | null;
}

/** The layer at which TF.js refused the model; `computable`: how many taps, in their order, it computes. */
export interface RefusedLayer {
  name: string;
  op: string;
  inputs: string[] | null;
  computable?: number;
}

/** Reports the stage, and how much of it is done. */
export type Report = (stage: string, done?: number, total?: number) => void;
