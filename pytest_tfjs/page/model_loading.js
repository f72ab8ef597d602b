// @ts-check
/**
 * Artifacts, and the models loaded from them.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").ModelArtifacts} ModelArtifacts
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").HostTensor} HostTensor
 */

import { openGraph } from "./graph_model.js";
import { openLayers } from "./layers_model.js";

// Those of larger models are let go of after the job.
const KEPT_BYTES = 256 << 20;
/** @type {{url: string, artifacts: ModelArtifacts} | null} */
let kept = null;

/**
 * A model.json and its shards. They may be those of the job before; `fresh` is for a job that times loading.
 *
 * @param {TF} tf
 * @param {string} url
 * @param {{fresh: boolean}} options
 * @returns {Promise<ModelArtifacts>}
 */
export async function fetchArtifacts(tf, url, { fresh }) {
  if (!fresh && kept?.url === url) return kept.artifacts;
  kept = null;
  const artifacts = await load(tf, url);
  const bytes = [artifacts.weightData ?? []].flat().reduce((sum, data) => sum + data.byteLength, 0);
  if (bytes <= KEPT_BYTES) kept = { url, artifacts };
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
 * TF.js takes the body of any answer for weights, whatever its status, and reads no body before all answers are
 * there. A browser holds a connection until its body is read and has six for a server: of more shards than that,
 * the others and the page's heartbeat would wait for ever. So each body is read at once.
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
 * A model of its own from artifacts, which can be used again.
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
 * A feed in the backend. The tensors are the caller's to dispose of.
 *
 * @param {TF} tf
 * @param {Map<string, HostTensor>} feed
 * @returns {Map<string, Tensor>}
 */
export function upload(tf, feed) {
  return new Map([...feed].map(([name, tensor]) => [name, toTensor(tf, tensor)]));
}

/**
 * @param {TF} tf
 * @param {HostTensor} tensor
 */
function toTensor(tf, { dtype, shape, data }) {
  if (dtype !== "complex64") return tf.tensor(data, shape, dtype);
  const pairs = /** @type {Float32Array} */ (data);
  return tf.tidy(() =>
    tf.complex(
      tf.tensor(pairs.filter((_, at) => at % 2 === 0), shape, "float32"),
      tf.tensor(pairs.filter((_, at) => at % 2 === 1), shape, "float32"),
    ),
  );
}
