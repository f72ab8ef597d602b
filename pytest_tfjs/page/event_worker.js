// @ts-check
/**
 * A worker that sends the page's events and its heartbeat to the server.
 *
 * The events arrive in order, also while the page's main thread computes.
 *
 * @typedef {{type: "start", api: string, first: number}
 *   | {type: "event", event: Record<string, unknown>}
 *   | {type: "flush", id: number}
 *   | {type: "pong"}} EventMessage
 */

const BEAT_MS = 1000;
// In characters. With the longest event, which events.js bounds, a batch stays under the server's limit for one message.
const BATCH = 100_000;

let api = "";
let first = 0;
let sending = false;
let answered = performance.now();
/** @type {string[]} */
const events = [];
/** @type {number[]} */
const flushes = [];

/** @param {MessageEvent<EventMessage>} message */
self.onmessage = ({ data }) => {
  switch (data.type) {
    case "start":
      api = data.api;
      first = data.first;
      void beat();
      setInterval(beat, BEAT_MS);
      break;
    case "event":
      events.push(JSON.stringify(data.event));
      break;
    case "flush":
      flushes.push(data.id);
      break;
    case "pong":
      answered = performance.now();
      break;
  }
  if (api !== "" && !sending) void deliver();
};

/** Send a heartbeat, with the time for which the main thread has not answered. */
async function beat() {
  self.postMessage({ type: "ping" });
  const late = performance.now() - answered - BEAT_MS;
  await post("beat", JSON.stringify({ busyMs: Math.max(0, late) }));
}

async function deliver() {
  sending = true;
  while (events.length > 0) {
    let size = 0;
    let count = 0;
    while (count < events.length && size < BATCH) size += events[count++]?.length ?? 0;
    const batch = events.splice(0, count);
    await post("events", `{"first":${first},"events":[${batch.join(",")}]}`);
    first += count;
  }
  sending = false;
  for (const id of flushes.splice(0)) self.postMessage({ type: "flushed", id });
}

/**
 * @param {string} path
 * @param {string} body
 */
async function post(path, body) {
  try {
    const response = await fetch(api + path, { method: "POST", body });
    if (response.status === 410) self.close();
  } catch {
    self.close(); // the server has stopped, so that nothing would receive further messages
  }
}

self.postMessage({ type: "ready" });
