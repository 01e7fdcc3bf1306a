// setTimeout and clearTimeout: expire|fire|cancel|churn|reset NUMBER…
'use strict';
const { stopwatch, late } = require('./measure');

const [role, ...numbers] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const farAway = () => 3_600_000 * (1 + Math.random());
const nothing = () => {};

const roles = {
  expire(count, from, span, rounds) {
    const times = [], stop = stopwatch();
    let fired = 0, left = rounds;
    const ran = () => {
      fired += 1;
      if (fired === count) insert();
    };
    const insert = () => {
      if (left === 0) {
        stop(count * rounds, late(times, 99, 'late99'));
        process.exit(0);
      }
      left -= 1;
      fired = 0;
      for (let index = 0; index < count; index += 1) {
        const delay = from + Math.random() * span;
        if (index % 64 === 0) {
          const due = Number(process.hrtime.bigint()) + delay * 1e6;
          setTimeout(() => {
            times.push(Math.max(0, Number(process.hrtime.bigint()) - due));
            ran();
          }, delay);
        } else {
          setTimeout(ran, delay);
        }
      }
    };
    insert();
  },
  fire(count, lead) {
    const stop = stopwatch();
    let fired = 0;
    const ran = () => {
      fired += 1;
      if (fired === count) {
        stop(count);
        process.exit(0);
      }
    };
    for (let index = 0; index < count; index += 1) setTimeout(ran, lead + Math.random() * 1e3);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lead + 1_010);
  },
  cancel(count, batch) {
    const order = [...Array(batch).keys()];
    for (let index = batch - 1; index > 0; index -= 1) {
      const other = Math.floor(Math.random() * (index + 1));
      [order[index], order[other]] = [order[other], order[index]];
    }
    const delays = order.map(farAway), stop = stopwatch();
    for (let round = 0; round < count / batch; round += 1) {
      const timers = delays.map(delay => setTimeout(nothing, delay));
      for (const index of order) clearTimeout(timers[index]);
    }
    stop(count);
    process.exit(0);
  },
  churn(pending, churns) {
    const timers = [];
    for (let index = 0; index < pending; index += 1) timers.push(setTimeout(nothing, farAway()));
    const stop = stopwatch();
    for (let index = 0; index < churns; index += 1) {
      const place = Math.floor(Math.random() * pending);
      clearTimeout(timers[place]);
      timers[place] = setTimeout(nothing, farAway());
    }
    stop(churns);
    process.exit(0);
  },
};
if (!(role in roles)) throw new Error(`no ${role}`);
roles[role](...numbers);
