// @ts-check
/**
 * A worker that sends activations (uploads.js gives them to it). A socket takes its data piece by piece from the
 * thread that owns it: here it takes them while the page's main thread reads the next tensor.
 *
 * @typedef {{type: "announce", url: string, announcement: Record<string, number>}
 *   | {type: "bytes", buffer: ArrayBuffer, length: number}
 *   | {type: "reset"}} Errand
 */

/** @type {WebSocket | null} */
let socket = null;
/** What came before the socket was open. @type {Errand[]} */
let waiting = [];

/** @param {MessageEvent<Errand>} message */
self.onmessage = ({ data }) => {
  if (data.type === "reset") return reset();
  if (data.type === "announce" && socket === null) open(data.url);
  if (socket?.readyState === WebSocket.CONNECTING) waiting.push(data);
  else transmit(data);
};

/** @param {string} url */
function open(url) {
  const opened = new WebSocket(url);
  socket = opened;
  opened.onopen = () => waiting.splice(0).forEach(transmit);
  opened.onmessage = () => self.postMessage({ type: "arrived" });
  opened.onclose = ({ code, reason }) => {
    if (socket !== opened) return;
    reset();
    self.postMessage({ type: "closed", reason: reason || `the connection closed (${code})` });
  };
}

/** @param {Errand} errand */
function transmit(errand) {
  if (errand.type === "announce") socket?.send(JSON.stringify(errand.announcement));
  if (errand.type === "bytes") {
    socket?.send(new Uint8Array(errand.buffer, 0, errand.length));
    self.postMessage({ type: "free", buffer: errand.buffer }, { transfer: [errand.buffer] });
  }
}

function reset() {
  const former = socket;
  socket = null;
  waiting = [];
  former?.close();
}
