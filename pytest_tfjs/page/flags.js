// @ts-check
/**
 * Sets flags of TF.js and checks that the backend has them.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Setup} Setup
 */

/**
 * Throws for a flag that TF.js does not know, or whose value it refuses.
 *
 * @param {TF} tf
 * @param {Setup["flags"]} flags
 */
export function setFlags(tf, flags) {
  for (const [name, value] of Object.entries(flags)) {
    try {
      tf.env().set(name, value);
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      throw new Error(`TF.js refuses ${value} for the flag ${name}: ${reason}`);
    }
  }
}

/**
 * Throws if a flag has another value in `found` than in `flags`; flags that are not in `found` are not checked.
 *
 * @param {Setup["flags"]} flags
 * @param {Record<string, unknown>} found
 */
export function checkFlags(flags, found) {
  const other = Object.entries(flags).filter(([name, value]) => Object.hasOwn(found, name) && found[name] !== value);
  if (other.length > 0) {
    const pairs = other.map(([name, value]) => `${name} is ${found[name]}, but ${value} was requested`);
    throw new Error(`the backend was created without the requested flags: ${pairs.join("; ")}`);
  }
}
