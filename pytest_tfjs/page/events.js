// @ts-check
/** Sends events to the server: progress, console lines, failures and uncaught errors. */

import { API } from "./api.js";

// In characters: of one argument, and of a whole line.
const ARGUMENT_LIMIT = 4000;
const LINE_LIMIT = 16_000;
const STACK_LIMIT = 4000;
const ELEMENTS_LIMIT = 20;
// A model that logs at every step must not fill the memory of the run.
const LINES_LIMIT = 2000;
const LEVELS = /** @type {const} */ (["debug", "log", "info", "warn", "error", "assert", "trace"]);

/** @type {Worker} */
let worker;
let lines = 0;
let flushes = 0;
/** @type {Map<number, () => void>} */
const flushed = new Map();

/**
 * Send events and heartbeats from now on. Throws where the worker for them does not start.
 *
 * @param {() => Promise<number>} takeOver gives the number of events sent so far by load_guard.js, which sends no more
 */
export async function startEvents(takeOver) {
  worker = new Worker(new URL("./event_worker.js", import.meta.url), { type: "module" });
  await new Promise((resolve, reject) => {
    worker.onmessage = resolve;
    worker.onerror = ({ message }) => reject(new Error(`event_worker.js did not start: ${message ?? "it did not load"}`));
  });
  worker.onmessage = ({ data }) => {
    if (data.type === "ping") worker.postMessage({ type: "pong" });
    if (data.type === "flushed") flushed.get(data.id)?.();
  };
  captureConsole();
  captureFaults();
  worker.postMessage({ type: "start", api: API, first: await takeOver() });
}

/** @param {Record<string, unknown>} event */
export function send(event) {
  worker.postMessage({ type: "event", event });
}

/** Wait until the server has all events sent so far. @returns {Promise<void>} */
export function flush() {
  return new Promise((resolve) => {
    const id = flushes++;
    flushed.set(id, () => {
      flushed.delete(id);
      resolve();
    });
    worker.postMessage({ type: "flush", id });
  });
}

/**
 * @param {string} stage
 * @param {number} [done]
 * @param {number} [total]
 */
export function progress(stage, done, total) {
  send({ type: "progress", stage, done: done ?? null, total: total ?? null });
}

/**
 * @param {unknown} error
 * @param {string | null} stage
 * @param {object} how
 * @param {boolean} how.fatal the page does no further job
 * @param {number | null} how.job
 * @param {boolean} [how.refused] TF.js cannot run the model
 * @param {boolean} [how.unavailable] the machine lacks what the target needs
 * @param {import("./types").RefusedLayer | null} [how.layer] the layer at which TF.js threw the error
 */
export function failed(error, stage, { fatal, job, refused = false, unavailable = false, layer = null }) {
  const reason = cut(reasonOf(error), ARGUMENT_LIMIT);
  send({ type: "failed", reason, stack: stackOf(error), stage, fatal, job, refused, unavailable, layer });
}

/**
 * Send an uncaught error.
 *
 * @param {string} kind
 * @param {unknown} error
 */
export function fault(kind, error) {
  send({ type: "fault", kind, message: cut(reasonOf(error), ARGUMENT_LIMIT), stack: stackOf(error) });
}

/** @param {unknown} error */
export function reasonOf(error) {
  return error instanceof Error ? `${error.message || error.name}` : format(error);
}

function captureConsole() {
  for (const level of LEVELS) {
    const original = /** @type {(...values: unknown[]) => void} */ (console[level]).bind(console);
    console[level] = (/** @type {unknown[]} */ ...values) => {
      original(...values);
      if (level === "assert" && values[0]) return;
      line(level, level === "assert" ? values.slice(1) : values);
    };
  }
}

/**
 * @param {string} level
 * @param {unknown[]} values
 */
function line(level, values) {
  lines += 1;
  if (lines > LINES_LIMIT) return;
  const shown = lines === LINES_LIMIT ? [`${LINES_LIMIT} lines; further lines are left out`] : values;
  const error = shown.find((value) => value instanceof Error);
  send({ type: "console", level, arguments: formatAll(shown), stack: error ? stackOf(error) : callers() });
}

/** @param {unknown[]} values */
function formatAll(values) {
  /** @type {string[]} */
  const texts = [];
  let size = 0;
  for (const value of values) {
    if (size > LINE_LIMIT) return [...texts, `(and ${values.length - texts.length} more arguments)`];
    const text = cut(format(value), ARGUMENT_LIMIT);
    size += text.length + 1;
    texts.push(text);
  }
  return texts;
}

function captureFaults() {
  window.addEventListener("error", ({ message, filename, lineno, error }) => {
    fault("error", error ?? `${message} (${filename}:${lineno})`);
  });
  window.addEventListener("unhandledrejection", ({ reason }) => fault("unhandledrejection", reason));
}

/** The stack of the call of the console, without the frames of this module. */
function callers() {
  const frames = (new Error().stack ?? "").split("\n").slice(1);
  const own = frames.filter((frame) => !frame.includes(import.meta.url));
  return own.length > 0 ? cut(own.join("\n"), STACK_LIMIT) : null;
}

/** @param {unknown} error */
function stackOf(error) {
  return error instanceof Error && error.stack ? cut(error.stack, STACK_LIMIT) : null;
}

/** @param {unknown} value */
function format(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack || String(value);
  if (typeof value !== "object" || value === null) return String(value);
  if (ArrayBuffer.isView(value)) return formatView(value);
  try {
    return JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? `${item}n` : item)) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value); // a circular structure, or a toJSON() that throws
  }
}

/**
 * The first elements only: the view may be a whole activation.
 *
 * @param {ArrayBufferView} view
 */
function formatView(view) {
  const name = view.constructor.name;
  if (!("length" in view)) return `${name} of ${view.byteLength} bytes`;
  const array = /** @type {Float32Array} */ (view);
  const more = array.length > ELEMENTS_LIMIT ? ", …" : "";
  return `${name}(${array.length}) [${array.subarray(0, ELEMENTS_LIMIT).join(", ")}${more}]`;
}

/**
 * @param {string} text
 * @param {number} limit
 */
function cut(text, limit) {
  return text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length} characters)`;
}
