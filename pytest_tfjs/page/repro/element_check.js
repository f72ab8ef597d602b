// @ts-check
/**
 * Checks each element of an output against the reference, as pytest-tfjs does.
 *
 * compare/numbers/element_check.py is the same check in Python.
 *
 * @typedef {import("./types").Values} Values
 * @typedef {import("./types").ElementCheck} ElementCheck
 * @typedef {import("./types").Place} Place
 */

const SHOWN = 20;

/**
 * How many elements are wrong, and where it is worst. NaN equals NaN at the same place, and Infinity that of the same sign.
 *
 * @param {Values} actual
 * @param {Values} reference
 * @param {Float64Array} allowed the allowed |error| of each element
 * @param {number | null} rmsAllowed the allowed root mean square of the errors
 * @returns {ElementCheck}
 */
export function checkElements(actual, reference, allowed, rmsAllowed) {
  const elements = sizeOf(reference.shape);
  const reason = difference(actual, reference);
  if (reason !== null) return { elements, wrong: elements, maxAbs: Infinity, rms: Infinity, exceedsRms: false, worst: [], reason };
  const check = { elements, wrong: 0, maxAbs: 0, rms: 0, exceedsRms: false, worst: /** @type {Place[]} */ ([]), reason };
  for (let at = 0; at < elements; at++) {
    const error = errorAt(actual, reference, at);
    const limit = allowed[at] ?? 0;
    check.maxAbs = Math.max(check.maxAbs, error);
    check.rms += error ** 2;
    if (error > limit) check.wrong++;
    insertWorst(check.worst, { at, error, allowed: limit, share: shareOf(error, limit) });
  }
  check.rms = Math.sqrt(check.rms / elements);
  check.exceedsRms = rmsAllowed !== null && check.rms > rmsAllowed;
  return check;
}

/**
 * Insert a place among the worst, which are sorted by |error| / allowed, then |error|, then the order of the array.
 *
 * @param {Place[]} worst
 * @param {Place} place
 */
function insertWorst(worst, place) {
  const isWorse = (/** @type {Place} */ other) => place.share > other.share || (place.share === other.share && place.error > other.error);
  const rank = worst.findIndex(isWorse);
  if (rank < 0 && worst.length === SHOWN) return;
  worst.splice(rank < 0 ? worst.length : rank, 0, place);
  worst.length = Math.min(worst.length, SHOWN);
}

/**
 * Why the two cannot be compared; null if they can.
 *
 * @param {Values} actual
 * @param {Values} reference
 */
function difference(actual, reference) {
  const both = (/** @type {unknown} */ got, /** @type {unknown} */ want) =>
    `${got} in the browser, ${want} in the reference`;
  if (String(actual.shape) !== String(reference.shape) || actual.shape.length !== reference.shape.length) {
    return `shape ${both(shown(actual.shape), shown(reference.shape))}`;
  }
  if (actual.dtype !== reference.dtype) return `dtype ${both(actual.dtype, reference.dtype)}`;
  return sizeOf(reference.shape) === 0 ? "there are no elements" : null;
}

/**
 * @param {Values} actual
 * @param {Values} reference
 * @param {number} at
 */
function errorAt(actual, reference, at) {
  const got = partsAt(actual, at);
  const want = partsAt(reference, at);
  if (got.every((value, part) => Object.is(value, want[part]) || value === want[part])) return 0;
  const isNaN = (/** @type {number[]} */ parts) => parts.some(Number.isNaN);
  if (isNaN(got) && isNaN(want)) return 0;
  if (![...got, ...want].every(Number.isFinite)) return Infinity;
  return Math.hypot(...got.map((value, part) => value - (want[part] ?? 0)));
}

/**
 * The parts of an element: one number, or the real and the imaginary part.
 *
 * @param {Values} values
 * @param {number} at
 */
export function partsAt({ dtype, data }, at) {
  return dtype === "complex64" ? [data[2 * at] ?? 0, data[2 * at + 1] ?? 0] : [data[at] ?? 0];
}

/**
 * @param {number} error
 * @param {number} allowed
 */
function shareOf(error, allowed) {
  if (error === Infinity) return Infinity;
  if (allowed > 0) return error / allowed;
  return error > 0 ? Infinity : 0;
}

/** @param {number[]} shape */
export function sizeOf(shape) {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * The index of an element in an array of that shape.
 *
 * @param {number} at
 * @param {number[]} shape
 */
export function indexOf(at, shape) {
  const index = shape.map(() => 0);
  let rest = at;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] ?? 1;
    index[axis] = rest % size;
    rest = Math.floor(rest / size);
  }
  return index;
}

/** @param {number[]} list */
export function shown(list) {
  return `[${list.join(", ")}]`;
}
