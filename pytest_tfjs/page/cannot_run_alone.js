// @ts-check

/** Why a row cannot be computed alone, in words. */
export class CannotError extends Error {}
