// @ts-check

/** The machine or the browser does not have what the target needs: neither the flags nor the model is at fault. */
export class UnavailableError extends Error {}
