// @ts-check
/** Describes tensors in messages. */

/**
 * Dtype and shape of a tensor, such as `float32 [any, 3]`.
 *
 * @param {{dtype: string, shape: (number | null)[]}} tensor
 */
export function describeTensor({ dtype, shape }) {
  return `${dtype} [${shape.map((size) => size ?? "any").join(", ")}]`;
}
