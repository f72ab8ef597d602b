// @ts-check

/** The machine or the browser does not have what the target needs: neither the flags nor the model is at fault. */
export class UnavailableError extends Error {}

/**
 * Throws where browsers keep something from the page because of how it came.
 *
 * @param {string} what
 */
export function requireSecureContext(what) {
  if (globalThis.isSecureContext !== false) return;
  throw new UnavailableError(
    `the page is no secure context, which ${what} needs: it has to come by https (--tfjs-public-url), or from the` +
      " browser's own machine",
  );
}
