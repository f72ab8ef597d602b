// @ts-check
/**
 * The page's entry: starts the backend, describes it, and does one job after another.
 */

import { fetchJob, fetchSetup, postResult } from "./api.js";
import { factsOf, loadTF, makeBackend } from "./backend.js";
import { failed, flush, progress, send, startEvents } from "./events.js";
import { GPUError, wasLost } from "./gpu.js";
import { isUndisposed } from "./disposal.js";
import { runJob } from "./job.js";
import { KernelError } from "./kernels.js";
import { isRefusal, refusedLayerOf } from "./model_refusal.js";
import { UnavailableError } from "./unavailable.js";

/** The current stage, for the message of a failure. */
let stage = "loading TF.js";

/** @type {import("./types").Report} */
function report(name, done, total) {
  stage = name;
  progress(name, done, total);
}

async function start() {
  const setup = await fetchSetup();
  report("loading TF.js");
  const tf = await loadTF(setup.scripts);
  report(`starting ${setup.backend}`);
  await makeBackend(tf, setup);
  send({ type: "up", facts: factsOf(tf, setup) });
  return tf;
}

/**
 * Whether every later job may fail as well: WebAssembly was aborted, which leaves its memory in an unknown state, or
 * TF.js keeps a kernel that the GPU refused.
 *
 * @param {unknown} error
 */
function isFatal(error) {
  return error instanceof WebAssembly.RuntimeError || error instanceof GPUError || isUndisposed(error);
}

/** @param {import("./types").TF} tf */
async function work(tf) {
  for (;;) {
    const job = await fetchJob();
    if (job === null) continue;
    try {
      const result = await runJob(tf, job, report);
      await flush(); // so that events of the job arrive before its result
      await postResult(job.job, result);
    } catch (error) {
      if (await wasLost(tf)) return;
      // That a kernel is missing does not depend on the stage.
      const at = error instanceof KernelError ? null : stage;
      const layer = refusedLayerOf(error);
      failed(error, at, { fatal: isFatal(error), job: job.job, refused: isRefusal(error), layer });
      if (isFatal(error)) return;
    }
  }
}

// Until events can be sent, load_guard.js reports errors.
const { releaseGuard } = /** @type {{releaseGuard: () => Promise<number>}} */ (/** @type {unknown} */ (globalThis));
await startEvents(releaseGuard);
try {
  await work(await start());
} catch (error) {
  failed(error, stage, { fatal: true, job: null, unavailable: error instanceof UnavailableError });
}
