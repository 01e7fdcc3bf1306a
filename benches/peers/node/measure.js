// Shared by the peers on Node: clocks and samples.
'use strict';

setTimeout(() => process.exit(1), 180_000).unref();

exports.stopwatch = () => {
  const wall = process.hrtime.bigint(), cpu = process.cpuUsage();
  return (operations, more = {}) => {
    const used = process.cpuUsage(cpu), took = Number(process.hrtime.bigint() - wall);
    exports.sample({ cpu: (used.user + used.system) * 1e3 / operations, rate: operations * 1e9 / took, ...more });
  };
};

exports.sample = values =>
  console.log('sample', ...Object.entries(values).map(([key, value]) => `${key}=${value}`));

// The median of the times, in nanoseconds, and a higher percentile under the key.
exports.late = (times, share, key) => {
  times.sort((a, b) => a - b);
  return { late: times[times.length >> 1], [key]: times[Math.floor(times.length * share / 100)] };
};
