"""`call_later`, one after the other: MICROSECONDS TIMES."""

import asyncio
import sys
import time

from measure import late, sample

delay, times = int(sys.argv[1]) / 1e6, int(sys.argv[2])


async def main():
    lates = []
    for _ in range(times):
        asked = time.monotonic()
        ran = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(delay, ran.set_result, None)
        await ran
        lates.append(max(0, time.monotonic() - asked - delay))
    sample(**late(lates, 90, "late90"))


asyncio.run(main())
