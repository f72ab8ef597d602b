// @ts-check
/** What lists lack. */

/**
 * The element at an index that the list must have.
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
 * A list as TF.js takes it: of one value, the value.
 *
 * @template T
 * @param {T[]} list
 */
export function single(list) {
  return list.length === 1 ? pick(list, 0) : list;
}
