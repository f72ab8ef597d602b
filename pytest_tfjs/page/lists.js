// @ts-check
/** Helpers for lists. */

/**
 * The element at an index. Throws RangeError where the list has no such index.
 *
 * @template T
 * @param {readonly T[]} list
 * @param {number} index
 */
export function pick(list, index) {
  if (index < 0 || index >= list.length) throw new RangeError(`no element ${index} in a list of ${list.length}`);
  return /** @type {T} */ (list[index]);
}

/**
 * One value, or the list of several, as a list.
 *
 * @template T
 * @param {T | T[]} value
 */
export function toList(value) {
  return Array.isArray(value) ? value : [value];
}

/**
 * A list in the form that TF.js takes: a list of one value becomes that value.
 *
 * @template T
 * @param {T[]} list
 */
export function single(list) {
  return list.length === 1 ? pick(list, 0) : list;
}
