// An echo server over TLS on Node, with OpenSSL: CERTIFICATE KEY.
'use strict';
const fs = require('node:fs');
require('./measure');

const [cert, key] = process.argv.slice(2).map(file => fs.readFileSync(file));
const server = require('node:tls').createServer({ cert, key, noDelay: true }, socket => {
  socket.on('data', data => {
    if (!socket.write(data)) socket.pause();
  });
  socket.on('drain', () => socket.resume());
  socket.on('error', () => {});
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => console.log(`listening 127.0.0.1:${server.address().port}`));
