// Pages fetched by http.get: ADDRESS PAGES IN_FLIGHT KEEP_ALIVE.
'use strict';
const assert = require('node:assert');
const http = require('node:http');
const { stopwatch } = require('./measure');

const PAGE = 1024;
const [address, pages, inFlight, keepAlive] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const agent = new http.Agent({ keepAlive: keepAlive === 1, maxSockets: inFlight, noDelay: true });
let left = pages, done = 0;
const stop = stopwatch();

const next = () => {
  if (left === 0) return;
  left -= 1;
  http.get(`http://${address}/`, { agent }, response => {
    let length = 0;
    response.on('data', data => length += data.length);
    response.on('end', () => {
      assert.deepStrictEqual([response.statusCode, length], [200, PAGE]);
      done += 1;
      if (done === pages) {
        stop(pages);
        process.exit(0);
      }
      next();
    });
  });
};
for (let worker = 0; worker < inFlight; worker += 1) next();
