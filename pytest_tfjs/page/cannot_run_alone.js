// @ts-check

/** A layer cannot run alone; the message says why. */
export class CannotRunAloneError extends Error {}
