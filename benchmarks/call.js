/**
 * Calls `benchmark[name](...values)` in the page, for each call of capture.py.
 *
 * WebDriver makes a function of this file's text, which is why it has `arguments`. The last one returns the value or
 * the error.
 */

const done = arguments[arguments.length - 1];
const [name, values] = arguments;
benchmark[name](...values).then(
  (value) => done({ value }),
  (error) => done({ error: error.stack }),
);
