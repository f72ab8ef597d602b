// @ts-check
/** The error for a layer that cannot run alone. */

/** A layer cannot run alone; the message says why. */
export class CannotRunAloneError extends Error {}
