"""Pages fetched by aiohttp's session: ADDRESS PAGES IN_FLIGHT KEEP_ALIVE."""

import asyncio
import sys

import aiohttp

from measure import Stopwatch

PAGE = 1024
address, pages, in_flight, keep_alive = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"


async def worker(session, url, numbers):
    for _ in numbers:
        async with session.get(url) as response:
            body = await response.read()
            assert (response.status, len(body)) == (200, PAGE)


async def main():
    connector = aiohttp.TCPConnector(limit=in_flight, force_close=not keep_alive)
    async with aiohttp.ClientSession(connector=connector) as session:
        numbers = iter(range(pages))
        clock = Stopwatch()
        await asyncio.gather(*(worker(session, f"http://{address}/", numbers) for _ in range(in_flight)))
        clock.stop(pages)


asyncio.run(main())
