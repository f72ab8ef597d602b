// @ts-check
/**
 * Sends the page's requests to the server.
 *
 * @typedef {import("./types").Job} Job
 * @typedef {import("./types").Setup} Setup
 */

const page = new URLSearchParams(location.search).get("page");

/** The base URL of requests. */
export const API = new URL(`../api/${page}/`, location.href).href;

/** The URL of the WebSocket for activations (serving/uploads.py says why they have their own). */
export const UPLOADS = new URL(`../uploads/${page}`, location.href).href.replace(/^http/, "ws");

/** @returns {Promise<Setup>} */
export async function fetchSetup() {
  return (await request("setup")).json();
}

/** The next job; null where there was none for some seconds. @returns {Promise<Job | null>} */
export async function fetchJob() {
  const response = await request("job");
  return response.status === 204 ? null : response.json();
}

/**
 * @param {number} job
 * @param {number} index
 */
export async function fetchFeed(job, index) {
  return (await request(`jobs/${job}/feeds/${index}`)).arrayBuffer();
}

/**
 * The reference's activations of some layers for a feed.
 *
 * @param {number} job
 * @param {number} feed
 * @param {string[]} names
 */
export async function fetchReferences(job, feed, names) {
  const body = JSON.stringify({ names });
  return (await request(`jobs/${job}/references/${feed}`, { method: "POST", body })).arrayBuffer();
}

/**
 * @param {number} job
 * @param {Record<string, unknown>} result
 */
export async function postResult(job, result) {
  await request(`jobs/${job}/result`, { method: "POST", body: JSON.stringify(result) });
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 */
async function request(path, init) {
  const response = await fetch(API + path, init);
  if (!response.ok) {
    throw new Error(`the server answered ${response.status} to ${path}: ${await response.text()}`);
  }
  return response;
}
