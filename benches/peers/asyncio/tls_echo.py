"""An echo server over TLS on asyncio, with OpenSSL: CERTIFICATE KEY."""

import asyncio
import ssl
import sys

from measure import listening


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, ssl=context)
    listening(*server.sockets[0].getsockname())
    await server.serve_forever()


asyncio.run(main())
