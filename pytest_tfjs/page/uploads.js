// @ts-check
/** Activations on their way to the server, over a WebSocket (uploads.py tells why). */

import { UPLOADS } from "./api.js";

// Each message costs a millisecond or two on its way, and each send() copies: the bytes are gathered in one buffer,
// used over and over, which is sent when it is full.
const GATHERED = 1 << 20;

/** One socket, for the chunks of one job. */
export class Uploads {
  #buffer = new Uint8Array(GATHERED);
  #gathered = 0;
  /** @type {WebSocket} */
  #socket;
  /** @type {Promise<void>} */
  #opened;
  /** @type {{resolve: () => void, reject: (error: Error) => void} | null} */
  #pending = null;

  constructor() {
    this.#socket = new WebSocket(UPLOADS);
    this.#socket.onmessage = () => this.#settle(null);
    this.#socket.onclose = ({ code, reason }) => {
      this.#settle(new Error(`the server did not take the activations: ${reason || `the connection closed (${code})`}`));
    };
    this.#opened = new Promise((resolve, reject) => {
      this.#socket.addEventListener("open", () => resolve());
      this.#socket.addEventListener("close", () => reject(new Error("the server refused the socket for activations")));
    });
    this.#opened.catch(() => undefined); // it is thrown where it is awaited
  }

  /**
   * Announce a chunk. Its bytes are sent next; the promise `arrived` says that the server has them all.
   *
   * @param {{job: number, chunk: number, feed: number, bytes: number}} announcement
   * @returns {Promise<{arrived: Promise<void>}>}
   */
  async announce(announcement) {
    await this.#opened;
    /** @type {Promise<void>} */
    const arrived = new Promise((resolve, reject) => (this.#pending = { resolve, reject }));
    arrived.catch(() => undefined);
    if (this.#socket.readyState !== WebSocket.OPEN) this.#settle(new Error("the connection for activations closed"));
    this.#socket.send(JSON.stringify(announcement));
    return { arrived };
  }

  /**
   * The next bytes of the chunk announced last.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  send(bytes) {
    for (let at = 0; at < bytes.byteLength; ) {
      const piece = bytes.subarray(at, at + GATHERED - this.#gathered);
      this.#buffer.set(piece, this.#gathered);
      this.#gathered += piece.byteLength;
      at += piece.byteLength;
      if (this.#gathered === GATHERED) this.flush();
    }
  }

  /** No more bytes of this chunk. */
  flush() {
    if (this.#gathered > 0) this.#socket.send(this.#buffer.subarray(0, this.#gathered));
    this.#gathered = 0;
  }

  close() {
    this.#socket.close();
  }

  /** @param {Error | null} error */
  #settle(error) {
    const pending = this.#pending;
    this.#pending = null;
    if (error === null) pending?.resolve();
    else pending?.reject(error);
  }
}
