// @ts-check
/**
 * Sends activations to the server over a WebSocket, through a worker.
 *
 * serving/uploads.py explains the choice of a WebSocket.
 */

import { UPLOADS } from "./api.js";

// A message takes a millisecond or two, and allocating costs more than copying: bytes are gathered in buffers of this
// size, which the worker gives back for reuse.
const GATHERED = 1 << 20;
const KEPT_BUFFERS = 16;

const worker = new Worker(new URL("./upload_worker.js", import.meta.url), { type: "module" });
/** @type {ArrayBuffer[]} */
const free = [];
/** @type {Uint8Array<ArrayBuffer>} */
let gathering = new Uint8Array(new ArrayBuffer(GATHERED));
let gathered = 0;
/** @type {{resolve: () => void, reject: (error: Error) => void} | null} */
let pending = null;
/** @type {Error | null} */
let broken = null;

worker.onmessage = (/** @type {MessageEvent} */ { data }) => {
  if (data.type === "free" && free.length < KEPT_BUFFERS) free.push(data.buffer);
  if (data.type === "arrived") settle(null);
  if (data.type === "closed") settle(new Error(`the server refused the activations: ${data.reason}`));
};
worker.onerror = (/** @type {ErrorEvent} */ { message }) => {
  broken = new Error(`upload_worker.js failed: ${message ?? "it did not load"}`);
  settle(broken);
};

/**
 * Announce a chunk, whose bytes are sent next. `arrived` settles when the server has them all.
 *
 * @param {{job: number, chunk: number, feed: number, bytes: number}} announcement
 * @returns {{arrived: Promise<void>}}
 */
export function announce(announcement) {
  if (broken !== null) throw broken;
  /** @type {Promise<void>} */
  const arrived = new Promise((resolve, reject) => (pending = { resolve, reject }));
  arrived.catch(() => undefined); // it is thrown where it is awaited
  worker.postMessage({ type: "announce", url: UPLOADS, announcement });
  return { arrived };
}

/**
 * The next bytes of the chunk announced last.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export function send(bytes) {
  for (let at = 0; at < bytes.byteLength; ) {
    const piece = bytes.subarray(at, at + GATHERED - gathered);
    gathering.set(piece, gathered);
    gathered += piece.byteLength;
    at += piece.byteLength;
    if (gathered === GATHERED) flush();
  }
}

/** End the chunk. */
export function flush() {
  if (gathered === 0) return;
  const { buffer } = gathering;
  worker.postMessage({ type: "bytes", buffer, length: gathered }, [buffer]);
  gathering = new Uint8Array(free.pop() ?? new ArrayBuffer(GATHERED));
  gathered = 0;
}

/** Drop a chunk that was not sent completely. The next one gets a new connection. */
export function reset() {
  gathered = 0;
  worker.postMessage({ type: "reset" });
  settle(new Error("only a part of the activations was sent"));
}

/** @param {Error | null} error */
function settle(error) {
  const settled = pending;
  pending = null;
  if (error === null) settled?.resolve();
  else settled?.reject(error);
}
