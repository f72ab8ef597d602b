// @ts-check
/**
 * Times runs of a model, from the call until its outputs are in memory.
 *
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").TimingPlan} TimingPlan
 * @typedef {import("./types").Report} Report
 */

/**
 * Time the first run, then the warm runs of the plan: at least one, if the plan has any, even over the budget.
 *
 * @param {Model} model
 * @param {Map<string, Tensor>} feed
 * @param {TimingPlan} plan
 * @param {{report: Report, first: string}} reporting reports progress; `first` is the name of the first run's stage
 */
export async function timeRuns(model, feed, { warmup, runs, budgetMs }, { report, first }) {
  report(first);
  const firstMs = await timeRun(model, feed);
  const start = performance.now();
  for (let run = 0; run < warmup && performance.now() - start < budgetMs; run++) {
    await timeRun(model, feed);
  }
  /** @type {number[]} */
  const warmMs = [];
  while (warmMs.length < runs && (warmMs.length === 0 || performance.now() - start < budgetMs)) {
    report("warm runs", warmMs.length, runs);
    await breathe();
    warmMs.push(await timeRun(model, feed));
  }
  return { firstMs, warmMs };
}

/**
 * @param {Model} model
 * @param {Map<string, Tensor>} feed
 */
async function timeRun(model, feed) {
  model.reset();
  const start = performance.now();
  const outputs = await model.run(feed);
  await Promise.all(outputs.map((output) => output.data()));
  const ms = performance.now() - start;
  for (const output of new Set(outputs)) output.dispose();
  return ms;
}

/** Let the page handle messages: a backend that computes in JavaScript never yields the thread. */
function breathe() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve(undefined);
    };
    channel.port2.postMessage(null);
  });
}
