// A site whose page is sent a millisecond later: BODY.
'use strict';
require('./measure');

const body = process.argv[2];
const server = require('node:http').createServer((request, response) => {
  setTimeout(() => {
    response.setHeader('Content-Type', 'text/plain');
    response.end(body);
  }, 1);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => console.log(`listening 127.0.0.1:${server.address().port}`));
