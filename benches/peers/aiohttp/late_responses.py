"""A site whose page is sent a millisecond later: BODY."""

import asyncio
import sys

from aiohttp import web

from measure import listening

BODY = sys.argv[1]


async def page(request):
    await asyncio.sleep(0.001)
    return web.Response(text=BODY)


async def main():
    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listening(*runner.addresses[0])
    await asyncio.Event().wait()


asyncio.run(main())
