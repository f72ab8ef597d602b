// @ts-check
/**
 * Computes the reproducer's layer on the chosen target, and shows its error.
 *
 * The address names the target (?target=webgl:f16). compute.js runs TF.js.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Description} Description
 * @typedef {import("./types").ElementCheck} ElementCheck
 * @typedef {import("./types").Place} Place
 * @typedef {import("./types").Target} Target
 * @typedef {import("./types").Values} Values
 */

import { bytesOf, compute, makeBackend, read } from "./compute.js";
import { checkElements, indexOf, partsAt, shown } from "./element_check.js";

const DIGITS = 7;
const PLAIN = { from: 1e-3, to: 1e7 }; // magnitudes that are written without an exponent

await main().catch((error) => {
  showState("failed", "The layer could not be computed in this browser.", String(error?.message ?? error));
});

async function main() {
  const description = /** @type {Description} */ (await (await fetch("reproducer.json")).json());
  const chosen = new URLSearchParams(location.search).get("target") ?? description.target;
  showSubject(description, chosen);
  showDiagnosis(description);
  const target = description.targets.find(({ name }) => name === chosen);
  if (target === undefined) throw new Error(`unknown target ${chosen}`);
  const [reference, written, allowed] = await Promise.all([
    read(description.reference),
    read(description.browser),
    bytesOf(description.allowed.file).then((bytes) => new Float64Array(bytes)),
  ]);
  const before = checkElements(written, reference, allowed, description.rmsAllowed);
  const tf = await makeBackend(target, description.wasmDirectory);
  const computed = await compute(tf, description);
  const check = checkElements(computed, reference, allowed, description.rmsAllowed);
  showElements(check, { reference, computed, written });
  showFigures(description, { here: check, written: before, shape: reference.shape }, environmentOf(tf, target));
  showVerdict(description, chosen, check, { reference, computed });
}

/**
 * @param {Description} description
 * @param {string} chosen
 */
function showSubject({ layer, model, environment, target, targets, inputs, operations }, chosen) {
  document.title = `${layer} on ${chosen}`;
  element("layer").textContent = layer;
  element("subject").textContent = `of ${model}, found wrong on ${target} in ${environment.browser}`;
  element("operations").textContent = JSON.stringify(operations, null, 2);
  for (const { name } of targets) {
    const link = document.createElement("a");
    link.href = `?target=${encodeURIComponent(name)}`;
    link.textContent = name;
    if (name === chosen) link.setAttribute("aria-current", "page");
    element("targets").append(link);
  }
  for (const { name, standsFor, dtype, shape, file } of inputs) addRow("inputs", [name, standsFor, dtype, shown(shape), file]);
}

/** @param {Description} description */
function showDiagnosis({ diagnosis }) {
  if (diagnosis === null) return;
  const section = element("diagnosis");
  section.hidden = false;
  section.querySelectorAll("p").forEach((line) => (line.textContent = diagnosis.said));
  const items = diagnosis.evidence.map((evidence) => Object.assign(document.createElement("li"), { textContent: evidence }));
  section.querySelector("ul")?.replaceChildren(...items);
}

/**
 * @param {Description} description
 * @param {string} chosen
 * @param {ElementCheck} check
 * @param {{reference: Values, computed: Values}} values
 */
function showVerdict({ layer, target, rmsAllowed }, chosen, { reason, wrong, elements, worst, maxAbs, rms, exceedsRms }, values) {
  if (reason !== null) {
    showState("wrong", `On ${chosen} the output cannot be compared with the reference.`, reason);
    return;
  }
  const [first] = worst;
  if (wrong > 0 && first !== undefined) {
    const count = `${wrong} of ${elements} elements ${wrong === 1 ? "is" : "are"} wrong`;
    showState("wrong", `${layer} is wrong on ${chosen}.`, `${count}. The worst: ${atWorst(first, values)}.`);
    return;
  }
  if (exceedsRms) {
    const allowed = `${number(rmsAllowed ?? 0)} is allowed`;
    showState("wrong", `${layer} is wrong on ${chosen}.`, `Each element is within its allowance, but the root mean square of all errors is ${number(rms)}, and ${allowed}.`);
    return;
  }
  const other = chosen === target ? ` The layer was wrong on ${target} in another browser or version.` : "";
  showState("right", `${layer} is right on ${chosen}.`, `All ${elements} elements are within their allowance: the largest |error| is ${number(maxAbs)}.${other}`);
}

/**
 * @param {Place} place
 * @param {{reference: Values, computed: Values}} values
 */
function atWorst({ at, error, allowed }, { reference, computed }) {
  const where = shown(indexOf(at, reference.shape));
  const seen = `at ${where} the browser has ${value(computed, at)}, the reference ${value(reference, at)}`;
  return error === Infinity ? seen : `${seen}: |error| is ${number(error)}, and ${number(allowed)} is allowed`;
}

/**
 * @param {"wrong" | "right" | "failed"} state
 * @param {string} headline
 * @param {string} detail
 */
function showState(state, headline, detail) {
  element("headline").textContent = headline;
  element("detail").textContent = detail;
  element("verdict").dataset.state = state;
}

/**
 * @param {ElementCheck} check
 * @param {{reference: Values, computed: Values, written: Values}} values
 */
function showElements({ worst, elements }, { reference, computed, written }) {
  for (const { at, error, allowed } of worst) {
    const seen = String(written.shape) === String(reference.shape) ? value(written, at) : "-";
    const limit = error === Infinity ? "-" : number(allowed);
    const cells = [shown(indexOf(at, reference.shape)), value(reference, at), value(computed, at), number(error), limit, seen];
    const row = addRow("elements", cells);
    row.classList.toggle("wrong", error > allowed);
    [...row.cells].slice(1).forEach((cell) => cell.classList.add("number"));
  }
  element("left").textContent = elements > worst.length ? `${worst.length} of ${elements} elements` : "";
}

/**
 * @param {Description} description
 * @param {{here: ElementCheck, written: ElementCheck, shape: number[]}} check
 * @param {Record<string, string>} here
 */
function showFigures({ environment }, { here: check, written, shape }, here) {
  const figures = {
    "largest |error|": (/** @type {ElementCheck} */ one) => (one.reason ?? String(one.maxAbs)),
    "root mean square": (/** @type {ElementCheck} */ one) => String(one.rms),
    "wrong elements": (/** @type {ElementCheck} */ one) => `${one.wrong} of ${one.elements}`,
    "worst element": (/** @type {ElementCheck} */ one) => (one.worst[0] === undefined ? "-" : shown(indexOf(one.worst[0].at, shape))),
  };
  for (const [name, figure] of Object.entries(figures)) addRow("figures", [name, figure(check), figure(written)]);
  for (const [name, seen] of Object.entries(environment)) addRow("figures", [name, here[name] ?? "", seen]);
}

/**
 * The facts about this page's environment, under the same names as in reproducer.json.
 *
 * @param {TF} tf
 * @param {Target} target
 * @returns {Record<string, string>}
 */
function environmentOf(tf, { name, flags }) {
  const gl = tf.getBackend() === "webgl" ? tf.backend().gpgpu?.gl : undefined;
  const unmasked = gl?.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL;
  const adapter = tf.getBackend() === "webgpu" ? Object.values(tf.backend().adapterInfo ?? {}).join(" ") : "";
  return {
    target: name,
    flags: Object.entries(flags).map(([flag, set]) => `${flag}=${set}`).join(", "),
    "TF.js": String(tf.version.tfjs ?? tf.version["tfjs-core"]),
    browser: navigator.userAgent,
    renderer: gl === undefined ? adapter : String(gl.getParameter(unmasked ?? gl.RENDERER)),
    "float32 textures": gl === undefined ? "" : tf.env().get("WEBGL_RENDER_FLOAT32_ENABLED") ? "yes" : "no",
  };
}

/**
 * @param {Values} values
 * @param {number} at
 */
function value(values, at) {
  const [real = 0, imaginary] = partsAt(values, at);
  if (values.dtype === "bool") return String(real !== 0);
  return imaginary === undefined ? number(real) : `${number(real)} ${imaginary < 0 ? "-" : "+"} ${number(Math.abs(imaginary))}i`;
}

/** @param {number} each */
function number(each) {
  const size = Math.abs(each);
  if (!Number.isFinite(each) || each === 0) return String(each);
  if (size >= PLAIN.from && size < PLAIN.to) return String(Number(each.toPrecision(DIGITS)));
  return Number.isInteger(each) && Number.isSafeInteger(each) ? String(each) : each.toExponential(DIGITS - 1);
}

/**
 * @param {string} table
 * @param {string[]} cells
 */
function addRow(table, cells) {
  const body = /** @type {HTMLTableElement} */ (element(table)).tBodies[0];
  if (body === undefined) throw new Error(`the table ${table} has no body`);
  const row = body.insertRow();
  for (const cell of cells) row.insertCell().textContent = cell;
  return row;
}

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}
