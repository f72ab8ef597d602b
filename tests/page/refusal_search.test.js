// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The page's address, which the modules read when they are loaded.
Object.assign(globalThis, { location: new URL("http://localhost/page/index.html?page=1") });
const { findRefusedLayer } = await import("../../pytest_tfjs/page/refusal_search.js");

/** @returns {any} */
const tf = () => ({ tensor: () => ({}), dispose: () => undefined });
const FEEDS = [new Map([["x", { dtype: /** @type {const} */ ("float32"), shape: [1], data: new Float32Array(1) }]])];

/** @param {string[]} names @returns {any[]} */
const taps = (...names) => names.map((name) => ({ name, address: { node: name }, alone: null }));

/**
 * A model of nodes in a row. It fails where it computes one of `bad`; `late` is the node that its watch then has.
 *
 * @param {string[]} nodes
 * @param {string[]} bad
 * @param {{late?: string, fails?: (feed: any) => boolean}} [how]
 * @returns {any}
 */
function chain(nodes, bad, { late, fails = () => true } = {}) {
  /** @type {string | null} */
  let last = null;
  const watched = (/** @type {string} */ name) => ({ name, class: "Op", inputs: null });
  const runTo = (/** @type {any} */ feed, /** @type {number} */ end) => {
    for (const name of nodes.slice(0, end)) {
      last = name;
      if (bad.includes(name) && fails(feed)) {
        last = late ?? name;
        throw new Error(`${name} is refused`);
      }
    }
    return [];
  };
  const ends = (/** @type {any[]} */ some) => Math.max(0, ...some.map(({ name }) => nodes.indexOf(name) + 1));
  return {
    run: async (/** @type {any} */ feed) => runTo(feed, nodes.length),
    tap: async (/** @type {any} */ feed, /** @type {any[]} */ some) => runTo(feed, ends(some)),
    watch: () => () => {
      const found = last;
      last = null;
      return found === null ? null : watched(found);
    },
    computes: (/** @type {any[]} */ some, /** @type {string} */ name) => nodes.indexOf(name) < ends(some),
    layerOf: (/** @type {any} */ tap) => watched(tap.name),
    inputsOf: async () => ["float32 [1]"],
  };
}

const NODES = ["a", "b", "c", "d", "e", "f", "g"];
const found = (/** @type {string} */ name, /** @type {number} */ computable) => ({ name, op: "Op", inputs: ["float32 [1]"], computable });

for (const [at, name] of NODES.entries()) {
  test(`a model that fails at ${name} computes ${at} taps`, async () => {
    for (const chunks of [[taps(...NODES)], [taps("a", "b", "c"), taps("d"), taps("e", "f", "g")]]) {
      assert.deepEqual(await findRefusedLayer(tf(), chain(NODES, [name]), FEEDS, chunks), found(name, at));
    }
  });
}

test("a node between two taps is named, not the tap behind it", async () => {
  assert.deepEqual(await findRefusedLayer(tf(), chain(NODES, ["d"]), FEEDS, [taps("a", "c", "f")]), found("d", 2));
});

test("a node whose promise fails later is found by what cannot be computed", async () => {
  const model = chain(NODES, ["d"], { late: "b" });
  assert.deepEqual(await findRefusedLayer(tf(), model, FEEDS, [taps(...NODES)]), found("d", 3));
});

test("of two nodes that are refused the one with the error of the whole run is named", async () => {
  const model = chain(NODES, ["b"]);
  model.tap = async (/** @type {any} */ feed, /** @type {any[]} */ some) => {
    if (some.some(({ name }) => name === "z")) throw new Error("z is refused");
    return chain(NODES, []).tap(feed, some);
  };
  assert.deepEqual(await findRefusedLayer(tf(), model, FEEDS, [taps("a", "z", "b")]), found("b", 1));
});

test("without taps the node that was computed last is named", async () => {
  assert.deepEqual(await findRefusedLayer(tf(), chain(NODES, ["d"]), FEEDS, []), found("d", 0));
});

test("the feed that fails is searched", async () => {
  let runs = 0;
  const model = chain(NODES, ["c"], { fails: () => runs > 0 });
  const { dispose, tensor } = tf();
  const counting = { tensor, dispose: (/** @type {unknown[]} */ tensors) => (dispose(tensors), tensors.length > 0 && runs++) };
  assert.deepEqual(await findRefusedLayer(/** @type {any} */ (counting), model, [...FEEDS, ...FEEDS], [taps(...NODES)]), found("c", 2));
});

test("of a model that does not fail again the node computed at the error is named", async () => {
  const model = chain(NODES, ["c"], { fails: ({ once }) => once });
  assert.equal(await findRefusedLayer(tf(), model, FEEDS, [taps(...NODES)]), null);
  await assert.rejects(model.run({ once: true }), /c is refused/);
  assert.deepEqual(await findRefusedLayer(tf(), model, FEEDS, [taps(...NODES)]), { name: "c", op: "Op", inputs: null });
});

test("a run that fails before its first node names no node of the run before it", async () => {
  let runs = 0;
  const model = chain(NODES, []);
  const { run } = model;
  model.run = async (/** @type {any} */ feed) => {
    runs++;
    if (runs > 1) throw new Error("the feed is refused");
    return run(feed);
  };
  assert.equal(await findRefusedLayer(tf(), model, [...FEEDS, ...FEEDS], []), null);
});
