// @ts-check
/**
 * Reports errors to the server until main.js runs.
 *
 * This file is a classic script, so that it runs even if modules do not load.
 */

"use strict";

(() => {
  const page = new URLSearchParams(location.search).get("page");
  let sent = 0;

  /** @param {Record<string, unknown>} event */
  function send(event) {
    const body = JSON.stringify({ first: sent++, events: [event] });
    // Events have to arrive in order, so each POST waits for the one before.
    queue = queue.then(() => fetch(`../api/${page}/events`, { method: "POST", body })).catch(() => undefined);
  }
  /** @type {Promise<unknown>} */
  let queue = Promise.resolve();

  /** @param {Event} event */
  function onError(event) {
    const failed = event.target instanceof HTMLScriptElement ? event.target.src : null;
    const { message, filename, lineno, error } = /** @type {ErrorEvent} */ (event);
    const reason = failed ? `the page could not load ${failed}` : `${message} (${filename}:${lineno})`;
    send({ type: "failed", reason, stack: error?.stack ?? null, stage: "loading the page" });
  }

  // Errors of an element that fails to load reach only listeners that capture.
  window.addEventListener("error", onError, true);
  send({ type: "progress", stage: "loading the page", done: null, total: null });

  Object.assign(globalThis, {
    /** Stop watching. @returns {Promise<number>} how many events were sent, once they have arrived */
    releaseGuard: async () => {
      window.removeEventListener("error", onError, true);
      await queue;
      return sent;
    },
  });
})();
