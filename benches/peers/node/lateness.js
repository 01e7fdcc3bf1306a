// setTimeout, one after the other: MICROSECONDS TIMES.
'use strict';
const { late, sample } = require('./measure');

const [delay, times] = process.argv.slice(2).map(Number);
const lates = [];
const ask = () => {
  const asked = process.hrtime.bigint();
  setTimeout(() => {
    lates.push(Math.max(0, Number(process.hrtime.bigint() - asked) - delay * 1e3));
    if (lates.length < times) return ask();
    sample(late(lates, 90, 'late90'));
    process.exit(0);
  }, delay / 1e3);
};
ask();
