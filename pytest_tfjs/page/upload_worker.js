// @ts-check
/**
 * A worker that sends activations to the server over a WebSocket.
 *
 * A socket takes its data piece by piece on the thread that owns it. Meanwhile the page's main thread reads the next
 * tensor. uploads.js is the other end.
 *
 * @typedef {{type: "announce", url: string, announcement: Record<string, number>}
 *   | {type: "bytes", buffer: ArrayBuffer, length: number}
 *   | {type: "reset"}} UploadMessage
 */

/** @type {WebSocket | null} */
let socket = null;
/** The messages that arrived before the socket was open. @type {UploadMessage[]} */
let waiting = [];

/** @param {MessageEvent<UploadMessage>} message */
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

/** @param {UploadMessage} message */
function transmit(message) {
  if (message.type === "announce") socket?.send(JSON.stringify(message.announcement));
  if (message.type === "bytes") {
    socket?.send(new Uint8Array(message.buffer, 0, message.length));
    self.postMessage({ type: "free", buffer: message.buffer }, { transfer: [message.buffer] });
  }
}

function reset() {
  const former = socket;
  socket = null;
  waiting = [];
  former?.close();
}
