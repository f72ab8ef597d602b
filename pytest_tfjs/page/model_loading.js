// @ts-check
/**
 * Loads artifacts, models and feeds.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").ModelArtifacts} ModelArtifacts
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").HostTensor} HostTensor
 */

import { openGraph } from "./graph_model.js";
import { openLayers } from "./layers_model.js";

// Artifacts of larger models are not cached after the job.
const CACHED_BYTES = 256 << 20;
/** @type {{url: string, artifacts: ModelArtifacts} | null} */
let cached = null;

/**
 * A model.json and its shards. The last ones are cached for the next job; `fresh` loads them again, to time it.
 *
 * @param {TF} tf
 * @param {string} url
 * @param {{fresh: boolean}} options
 * @returns {Promise<ModelArtifacts>}
 */
export async function fetchArtifacts(tf, url, { fresh }) {
  if (!fresh && cached?.url === url) return cached.artifacts;
  cached = null;
  const artifacts = await load(tf, url);
  const bytes = [artifacts.weightData ?? []].flat().reduce((sum, data) => sum + data.byteLength, 0);
  if (bytes <= CACHED_BYTES) cached = { url, artifacts };
  return artifacts;
}

/**
 * @param {TF} tf
 * @param {string} url
 * @returns {Promise<ModelArtifacts>}
 */
function load(tf, url) {
  const base = url.slice(0, url.lastIndexOf("/") + 1);
  return tf.io
    .http(url, {
      fetchFunc: fetchOk,
      weightUrlConverter: async (path) => base + path.split("/").map(encodeURIComponent).join("/"),
    })
    .load();
}

/**
 * A fetch for TF.js that checks the status and reads each body at once. TF.js reads no body before all responses have
 * arrived, and a browser opens six connections to a server: with more shards, the others would never arrive.
 *
 * @param {RequestInfo | URL} resource
 * @param {RequestInit} [init]
 */
async function fetchOk(resource, init) {
  const response = await fetch(resource, init);
  if (!response.ok) throw new Error(`the server answered ${response.status} to ${resource}`);
  const { status, statusText, headers } = response;
  return new Response(await response.arrayBuffer(), { status, statusText, headers });
}

/**
 * A new model from artifacts.
 *
 * @param {TF} tf
 * @param {ModelArtifacts} artifacts
 * @param {"graph" | "layers"} format
 * @returns {Promise<Model>}
 */
export function openModel(tf, artifacts, format) {
  const source = tf.io.fromMemory(artifacts);
  return format === "graph" ? openGraph(tf, source) : openLayers(tf, source);
}

/**
 * Upload a feed to the backend. The caller disposes of the tensors.
 *
 * @param {TF} tf
 * @param {Map<string, HostTensor>} feed
 * @returns {Map<string, Tensor>}
 */
export function upload(tf, feed) {
  return new Map([...feed].map(([name, tensor]) => [name, toTensor(tf, tensor)]));
}

/**
 * A tensor of its own: TF.js would keep `data` itself, into which some of its kernels write.
 *
 * @param {TF} tf
 * @param {HostTensor} tensor
 */
export function toTensor(tf, { dtype, shape, data }) {
  if (dtype !== "complex64") return tf.tensor(data.slice(), shape, dtype);
  const pairs = /** @type {Float32Array} */ (data);
  return tf.tidy(() =>
    tf.complex(
      tf.tensor(pairs.filter((_, at) => at % 2 === 0), shape, "float32"),
      tf.tensor(pairs.filter((_, at) => at % 2 === 1), shape, "float32"),
    ),
  );
}
