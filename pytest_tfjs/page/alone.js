// @ts-check
/**
 * Runs each layer of a chunk alone, on the reference activations of the layers before it.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {import("./types").Job} Job
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {{taps: Tap[], names: string[]}} Piece taps, and the rows whose reference is fetched for them
 * @typedef {Promise<Map<string, HostTensor>>} Fetched
 * @typedef {(feed: number, names: string[]) => Fetched} Fetch
 * @typedef {{feed: number, pieces: Piece[], first: Fetched}} Started
 */

import { checkGPU } from "./gpu.js";
import { CannotRunAloneError } from "./cannot_run_alone.js";
import { Constants } from "./constants.js";
import { FedTensors } from "./fed_tensors.js";

// References are fetched in pieces of about this size. The next piece is fetched while one is in use, so at most two
// are in memory, beside references of earlier pieces that are still needed.
const PIECE_BYTES = 8 << 20;
// The least time between two reports of how many were computed.
const REPORT_MS = 100;

/** The layers that run alone in one job. */
export class AloneRuns {
  /**
   * @param {TF} tf
   * @param {Pick<Model, "aloneRunner" | "constants">} model
   * @param {Pick<Job, "chunkLimit">} job
   * @param {Fetch} fetch gives references
   */
  constructor(tf, model, job, fetch) {
    this.tf = tf;
    this.fetch = fetch;
    this.limit = job.chunkLimit;
    this.compute = model.aloneRunner();
    this.constants = new Constants(tf, model.constants());
    /** @type {Map<string, string>} */
    this.reasons = new Map();
    /** @type {Map<string, number>} */
    this.sizes = new Map();
    /** @type {Map<string, Set<string>>} */
    this.overwritten = new Map();
  }

  /**
   * Start a chunk whose activations are computed: fetches the first references.
   *
   * @param {Tap[]} taps
   * @param {number} feed
   * @param {Map<string, Tensor>} activations
   * @returns {Started}
   */
  start(taps, feed, activations) {
    for (const [name, tensor] of activations) this.sizes.set(name, bytesOf(tensor));
    const sizeOf = (/** @type {string} */ name) => this.sizes.get(name) ?? 0;
    const runnable = taps.filter((tap) => {
      if (tap.alone === null || this.reasons.has(tap.name)) return false;
      const bytes = tap.alone.rows.reduce((sum, name) => sum + sizeOf(name), 0);
      if (bytes <= this.limit) return true;
      this.reasons.set(tap.name, `the layer's inputs have ${bytes} bytes, and a job can receive at most ${this.limit} bytes at once`);
      return false;
    });
    const pieces = inPieces(runnable, sizeOf, Math.min(PIECE_BYTES, this.limit));
    return { feed, pieces, first: this.fetchFor(feed, pieces[0]) };
  }

  /**
   * Run the layers of a chunk that was started. The caller disposes of the tensors. A layer that fails is left out.
   *
   * @param {Started} started
   * @param {FedTensors} input the feed
   * @param {(done: number) => void} report reports how many were computed so far
   */
  async run(started, input, report) {
    return this.constants.asFirst(() => this.runPieces(started, input, report));
  }

  /**
   * @param {Started} started
   * @param {FedTensors} input
   * @param {(done: number) => void} report
   */
  async runPieces({ feed, pieces, first }, input, report) {
    /** @type {Map<string, Tensor>} */
    const results = new Map();
    const fed = new FedTensors(this.tf);
    const left = countUses(pieces.flatMap(({ taps }) => taps));
    let done = 0;
    let reportedAt = performance.now();
    let fetched = first;
    for (const [at, { taps, names }] of pieces.entries()) {
      const references = await fetched;
      fetched = this.fetchFor(feed, pieces[at + 1]);
      fed.add(pickAll(references, names));
      for (const tap of taps) {
        await this.runOne(tap, { fed, input, results });
        this.release(rowsOf(tap), fed, left);
        done++;
        if (performance.now() - reportedAt < REPORT_MS) continue;
        reportedAt = performance.now();
        report(done);
      }
    }
    return results;
  }

  /** Pairs of a layer whose kernel wrote into an input, and the row, the model's input or the constant that it took. */
  overwrites() {
    return [...this.overwritten].flatMap(([name, changed]) => [...changed].map((input) => /** @type {const} */ ([name, input])));
  }

  /** The layers that ran without the mask that Keras gives them, as in the whole model. */
  withoutMask() {
    return [...(this.compute.withoutMask ?? [])];
  }

  /** Pairs of a layer that failed, for any feed, and the reason. */
  failures() {
    return [...this.reasons];
  }

  /**
   * @param {Tap} tap
   * @param {{fed: FedTensors, input: FedTensors, results: Map<string, Tensor>}} tensors
   */
  async runOne(tap, { fed, input, results }) {
    try {
      const result = await this.compute(tap, fed.tensors, input.tensors);
      results.set(tap.name, input.apart(fed.apart(result)));
      const changed = [...fed.restore(rowsOf(tap)), ...input.restore(inputsOf(tap)), ...this.constants.restore()];
      if (changed.length > 0) this.overwritten.set(tap.name, new Set([...(this.overwritten.get(tap.name) ?? []), ...changed]));
    } catch (error) {
      checkGPU(this.tf);
      const text = error instanceof Error ? error.message : String(error);
      this.reasons.set(tap.name, error instanceof CannotRunAloneError ? text : `the layer failed: ${text}`);
    }
  }

  /**
   * Dispose of the references that no further layer needs.
   *
   * @param {string[]} names
   * @param {FedTensors} fed
   * @param {Map<string, number>} left how often each is still needed
   */
  release(names, fed, left) {
    for (const name of names) {
      const uses = Number(left.get(name)) - 1;
      left.set(name, uses);
      if (uses > 0) continue;
      fed.release(name);
    }
  }

  /**
   * @param {number} feed
   * @param {Piece | undefined} piece
   * @returns {Fetched}
   */
  fetchFor(feed, piece) {
    if (piece === undefined || piece.names.length === 0) return Promise.resolve(new Map());
    const fetched = this.fetch(feed, piece.names);
    fetched.catch(() => undefined); // the error is thrown where `fetched` is awaited
    return fetched;
  }
}

/**
 * Taps in their order, in pieces that each need about `limit` bytes of references that no earlier one needed.
 *
 * @param {Tap[]} taps
 * @param {(name: string) => number} sizeOf
 * @param {number} limit
 * @returns {Piece[]}
 */
export function inPieces(taps, sizeOf, limit) {
  /** @type {Piece[]} */
  const pieces = [];
  /** @type {Set<string>} */
  const seen = new Set();
  let bytes = Infinity;
  for (const tap of taps) {
    const names = rowsOf(tap).filter((name) => !seen.has(name));
    const more = names.reduce((sum, name) => sum + sizeOf(name), 0);
    if (bytes + more > limit) {
      pieces.push({ taps: [], names: [] });
      bytes = 0;
    }
    const piece = /** @type {Piece} */ (pieces.at(-1));
    piece.taps.push(tap);
    piece.names.push(...names);
    bytes += more;
    for (const name of names) seen.add(name);
  }
  return pieces;
}

/** @param {Tensor} tensor */
function bytesOf({ shape, dtype }) {
  return shape.reduce((size, dimension) => size * dimension, dtype === "complex64" ? 8 : 4);
}

/**
 * The rows whose reference a tap's plan needs.
 *
 * @param {Tap} tap
 */
function rowsOf({ alone }) {
  return alone?.rows ?? [];
}

/**
 * The model's inputs that a tap's plan takes.
 *
 * @param {Tap} tap
 */
function inputsOf({ alone }) {
  if (alone === null) return [];
  const taken = "steps" in alone ? alone.steps.flatMap(({ inputs }) => inputs) : alone.fed.map(([, source]) => source);
  return taken.flatMap((source) => ("input" in source ? [source.input] : []));
}

/** @param {Tap[]} taps */
function countUses(taps) {
  /** @type {Map<string, number>} */
  const uses = new Map();
  for (const tap of taps) for (const name of rowsOf(tap)) uses.set(name, (uses.get(name) ?? 0) + 1);
  return uses;
}

/**
 * @param {Map<string, HostTensor>} tensors
 * @param {string[]} names
 */
function pickAll(tensors, names) {
  return new Map(names.map((name) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`the server sent no reference of '${name}', which the page requested`);
    return /** @type {const} */ ([name, tensor]);
  }));
}
