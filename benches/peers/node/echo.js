// An echo server on Node. It does not read while it cannot send.
'use strict';
require('./measure');

const server = require('node:net').createServer({ noDelay: true }, socket => {
  let messages = 0, bytes = 0;
  socket.on('data', data => {
    messages += 1;
    bytes += data.length;
    if (!socket.write(data)) socket.pause();
  });
  socket.on('drain', () => socket.resume());
  socket.on('error', () => {});
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => console.log(`listening 127.0.0.1:${server.address().port}`));
