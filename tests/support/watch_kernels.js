/**
 * Records each kernel that runs, in window.kernelsSeen.
 *
 * Of each: its name, the dtypes of its inputs, and whether its result is on the GPU. A result that is one of the inputs is
 * passed on, not computed.
 */
window.kernelsSeen = [];
if (!window.watchesKernels) {
  window.watchesKernels = true;
  const backend = tf.backend();
  const isOnGPU = ({ dataId }) => {
    const place = backend.texData ? backend.texData.get(dataId).texture : backend.tensorMap.get(dataId).resource;
    return place != null;
  };
  for (const config of tf.getKernelsForBackend(tf.getBackend())) {
    const { kernelFunc } = config;
    config.kernelFunc = (given) => {
      const result = kernelFunc(given);
      const taken = Object.values(given.inputs).flat().filter((one) => one != null);
      const made = [result].flat().filter(({ dataId }) => !taken.some((one) => one.dataId === dataId));
      window.kernelsSeen.push([config.kernelName, taken.map(({ dtype }) => dtype), made.every(isOnGPU)]);
      return result;
    };
  }
}
