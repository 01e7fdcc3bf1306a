"""An echo server on asyncio, as a protocol: faster than its streams. asyncio sets TCP_NODELAY itself."""

import asyncio

from measure import listening


class Echo(asyncio.Protocol):
    messages = 0
    bytes = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.messages += 1
        self.bytes += len(data)
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    listening(*server.sockets[0].getsockname())
    await server.serve_forever()


asyncio.run(main())
