// @ts-check
/**
 * The layers of a chunk, each computed alone on the reference of those in front of it.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Alone} Alone
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {import("./types").Job} Job
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {{name: string, alone: Alone}} Row
 * @typedef {{rows: Row[], names: string[]}} Piece rows, and whose reference is fetched for them
 * @typedef {Promise<Map<string, HostTensor>>} Fetched
 * @typedef {(feed: number, names: string[]) => Fetched} Fetch
 * @typedef {{feed: number, pieces: Piece[], first: Fetched}} Started
 */

import { checkGPU } from "./gpu.js";
import { CannotError } from "./cannot.js";
import { upload } from "./model.js";

// References are fetched in pieces of about this size: the next is on its way while one is computed with, and
// no more than two are held beside what is still used of those before.
const PIECE_BYTES = 8 << 20;
// How often at most it is told how many were computed.
const TELL_MS = 100;

/** What is computed alone in one job. */
export class AloneRuns {
  /**
   * @param {TF} tf
   * @param {Pick<Model, "alone">} model
   * @param {Pick<Job, "known" | "chunkLimit">} job
   * @param {Fetch} fetch gives references
   */
  constructor(tf, model, job, fetch) {
    this.tf = tf;
    this.fetch = fetch;
    this.limit = job.chunkLimit;
    this.plan = model.alone(job.known);
    /** @type {Map<string, Alone>} */
    this.planned = new Map();
    /** @type {Map<string, string>} */
    this.why = new Map();
    /** @type {Map<string, number>} */
    this.sizes = new Map();
  }

  /**
   * Begin with a chunk whose activations are there: the first references are on their way when it is computed.
   *
   * @param {Tap[]} taps
   * @param {number} feed
   * @param {Map<string, Tensor>} activations
   * @returns {Started}
   */
  start(taps, feed, activations) {
    for (const [name, tensor] of activations) this.sizes.set(name, bytesOf(tensor));
    const sizeOf = (/** @type {string} */ name) => this.sizes.get(name) ?? 0;
    const rows = taps.flatMap((tap) => {
      const alone = this.planOf(tap);
      if (alone === null) return [];
      const bytes = alone.needs.reduce((sum, name) => sum + sizeOf(name), 0);
      if (bytes <= this.limit) return [{ name: tap.name, alone }];
      this.why.set(tap.name, `what it takes has ${bytes} bytes; this job takes at most ${this.limit} at once`);
      return [];
    });
    const pieces = inPieces(rows, sizeOf, Math.min(PIECE_BYTES, this.limit));
    return { feed, pieces, first: this.fetchFor(feed, pieces[0]) };
  }

  /**
   * Compute what was begun. The tensors are the caller's to dispose of; those are missing that could not be computed.
   *
   * @param {Started} started
   * @param {Map<string, Tensor>} input the feed
   * @param {(done: number) => void} tell how many were computed so far
   */
  async run({ feed, pieces, first }, input, tell) {
    /** @type {Map<string, Tensor>} */
    const results = new Map();
    /** @type {Map<string, Tensor>} */
    const fed = new Map();
    const left = countUses(pieces.flatMap(({ rows }) => rows));
    let done = 0;
    let told = performance.now();
    let fetched = first;
    for (const [at, { rows, names }] of pieces.entries()) {
      const references = await fetched;
      fetched = this.fetchFor(feed, pieces[at + 1]);
      for (const [name, tensor] of upload(this.tf, pickAll(references, names))) fed.set(name, tensor);
      for (const { name, alone } of rows) {
        await this.runOne(name, alone, { fed, input, results });
        this.release(alone.needs, fed, left);
        done++;
        if (performance.now() - told < TELL_MS) continue;
        told = performance.now();
        tell(done);
      }
    }
    return results;
  }

  /** What was computed alone, for all feeds, from which rows; and why the others were not. */
  told() {
    const rows = [...this.planned].filter(([name]) => !this.why.has(name));
    return { alone: rows.map(([name, alone]) => [name, alone.rows]), notAlone: [...this.why] };
  }

  /**
   * How a row is computed; null where it is not, or has failed for another feed.
   *
   * @param {Tap} tap
   */
  planOf(tap) {
    if (this.why.has(tap.name)) return null;
    const known = this.planned.get(tap.name);
    if (known !== undefined) return known;
    const found = this.plan(tap);
    if ("why" in found) {
      this.why.set(tap.name, found.why);
      return null;
    }
    this.planned.set(tap.name, found);
    return found;
  }

  /**
   * @param {string} name
   * @param {Alone} alone
   * @param {{fed: Map<string, Tensor>, input: Map<string, Tensor>, results: Map<string, Tensor>}} tensors
   */
  async runOne(name, alone, { fed, input, results }) {
    try {
      results.set(name, await alone.run(fed, input));
    } catch (error) {
      checkGPU(this.tf);
      const text = error instanceof Error ? error.message : String(error);
      this.why.set(name, error instanceof CannotError ? text : `it failed: ${text}`);
    }
  }

  /**
   * Let go of what no further row needs.
   *
   * @param {string[]} names
   * @param {Map<string, Tensor>} fed
   * @param {Map<string, number>} left how often each is still needed
   */
  release(names, fed, left) {
    for (const name of names) {
      const uses = Number(left.get(name)) - 1;
      left.set(name, uses);
      if (uses > 0) continue;
      fed.get(name)?.dispose();
      fed.delete(name);
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
    fetched.catch(() => undefined); // it is thrown where it is awaited
    return fetched;
  }
}

/**
 * Rows in their order, in pieces that need about `limit` bytes of references which those before did not.
 *
 * @param {Row[]} rows
 * @param {(name: string) => number} sizeOf
 * @param {number} limit
 * @returns {Piece[]}
 */
export function inPieces(rows, sizeOf, limit) {
  /** @type {Piece[]} */
  const pieces = [];
  /** @type {Set<string>} */
  const seen = new Set();
  let bytes = Infinity;
  for (const row of rows) {
    const names = row.alone.needs.filter((name) => !seen.has(name));
    const more = names.reduce((sum, name) => sum + sizeOf(name), 0);
    if (bytes + more > limit) {
      pieces.push({ rows: [], names: [] });
      bytes = 0;
    }
    const piece = /** @type {Piece} */ (pieces.at(-1));
    piece.rows.push(row);
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

/** @param {Row[]} rows */
function countUses(rows) {
  /** @type {Map<string, number>} */
  const uses = new Map();
  for (const { alone } of rows) for (const name of alone.needs) uses.set(name, (uses.get(name) ?? 0) + 1);
  return uses;
}

/**
 * @param {Map<string, HostTensor>} tensors
 * @param {string[]} names
 */
function pickAll(tensors, names) {
  return new Map(names.map((name) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`the server gave no reference of '${name}', which it was asked for`);
    return /** @type {const} */ ([name, tensor]);
  }));
}
