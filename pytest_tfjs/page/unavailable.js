// @ts-check
/** The error for a target that this machine cannot run, and the checks that raise it. */

/** The machine or the browser lacks what the target needs. Neither the flags nor the model are wrong. */
export class UnavailableError extends Error {}

/**
 * Throws UnavailableError in a page that is not a secure context, in which browsers do not offer `what`.
 *
 * @param {string} what
 */
export function requireSecureContext(what) {
  if (globalThis.isSecureContext !== false) return;
  throw new UnavailableError(
    `${what} needs a secure context, and this page is not one. Serve the page by https (--tfjs-public-url), or run` +
      " the browser on the machine that runs pytest",
  );
}
