/**
 * What WebDriver runs for each call of capture.py: `benchmark[name](...values)`, whose value or error it hands on. The
 * driver makes a function of this file's text, which is why it has `arguments`.
 */

const done = arguments[arguments.length - 1];
const [name, values] = arguments;
benchmark[name](...values).then(
  (value) => done({ value }),
  (error) => done({ error: error.stack }),
);
