// @ts-check
/**
 * Runs the layer's model with TF.js, from starting the backend to computing the output.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").Description} Description
 * @typedef {import("./types").FileOf} FileOf
 * @typedef {import("./types").Target} Target
 * @typedef {import("./types").Values} Values
 */

const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array, complex64: Float32Array, string: Uint8Array };
const MODEL = "model/model.json";

/**
 * Start the backend under its flags, which are set before. Throws if another backend or other flags are in use.
 *
 * @param {Target} target
 * @param {string} wasmDirectory
 * @returns {Promise<TF>}
 */
export async function makeBackend({ backend, flags, scripts }, wasmDirectory) {
  if (flags.WASM_HAS_MULTITHREAD_SUPPORT && !globalThis.crossOriginIsolated) {
    throw new Error("wasm threads need a page that is cross-origin isolated: see README.md");
  }
  for (const script of scripts) await load(script);
  const tf = /** @type {{tf: TF}} */ (/** @type {unknown} */ (globalThis)).tf;
  for (const [name, value] of Object.entries(flags)) tf.env().set(name, value);
  if (backend === "wasm") {
    tf.wasm?.setWasmPaths(new URL(wasmDirectory, document.baseURI).href);
    if (flags.WASM_HAS_MULTITHREAD_SUPPORT) setThreads(tf);
  }
  const made = await tf.setBackend(backend);
  await tf.ready();
  if (!made || tf.getBackend() !== backend) throw new Error(`this browser does not support the backend ${backend}`);
  const other = Object.entries(flags).filter(([name, value]) => tf.env().get(name) !== value);
  if (other.length > 0) {
    const pairs = other.map(([name, value]) => `${name} is ${tf.env().get(name)} instead of ${value}`);
    throw new Error(`this browser did not apply the requested flags: ${pairs.join(", ")}`);
  }
  return tf;
}

/**
 * Let TF.js start at least two threads: it starts one for every two logical cores that the browser reports.
 *
 * @param {TF} tf
 */
function setThreads(tf) {
  const cores = navigator.hardwareConcurrency;
  tf.wasm?.setThreadsCount(Math.max(2, Math.min(4, cores)));
  if (cores < 4) Object.defineProperty(navigator, "hardwareConcurrency", { value: 4, configurable: true });
}

/**
 * The model's output for the reference's inputs.
 *
 * @param {TF} tf
 * @param {Description} description
 * @returns {Promise<Values>}
 */
export async function compute(tf, { format, tensor, inputs }) {
  /** @type {Record<string, Tensor>} */
  const fed = {};
  for (const input of inputs) fed[input.name] = toTensor(tf, await read(input));
  const output = format === "graph" ? await runGraph(tf, fed, String(tensor)) : await runLayers(tf, Object.values(fed));
  const { dtype, shape } = output;
  return { dtype, shape, data: /** @type {import("./types").Data} */ (await output.data()) };
}

/**
 * @param {TF} tf
 * @param {Record<string, Tensor>} fed
 * @param {string} tensor
 */
async function runGraph(tf, fed, tensor) {
  const model = await tf.loadGraphModel(MODEL);
  try {
    return single(model.execute(fed, [tensor]));
  } catch (error) {
    if (!String(error).includes("executeAsync")) throw error; // it says so of loops and branches
    return single(await model.executeAsync(fed, [tensor]));
  }
}

/**
 * @param {TF} tf
 * @param {Tensor[]} fed
 */
async function runLayers(tf, fed) {
  const model = await tf.loadLayersModel(MODEL);
  return single(model.predictOnBatch(fed));
}

/**
 * @param {TF} tf
 * @param {Values} values
 */
function toTensor(tf, { dtype, shape, data }) {
  if (dtype !== "complex64") return tf.tensor(data, shape, /** @type {Tensor["dtype"]} */ (dtype));
  const part = (/** @type {number} */ which) => tf.tensor(data.filter((_, at) => at % 2 === which), shape, "float32");
  return tf.complex(part(0), part(1));
}

/**
 * A file of bare numbers, little-endian.
 *
 * @param {FileOf} header
 * @returns {Promise<Values>}
 */
export async function read({ file, dtype, shape }) {
  return { dtype, shape, data: new ARRAYS[dtype](await bytesOf(file)) };
}

/** @param {string} file */
export async function bytesOf(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`the server answered ${response.status} to ${file}`);
  return response.arrayBuffer();
}

/**
 * @template T
 * @param {T | T[]} value
 */
function single(value) {
  return /** @type {T} */ (Array.isArray(value) ? value[0] : value);
}

/**
 * @param {string} src
 * @returns {Promise<void>}
 */
function load(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src, onload: () => resolve(), onerror: () => reject(new Error(`the page could not load ${src}`)) });
    document.head.append(script);
  });
}
