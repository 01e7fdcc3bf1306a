"""Pages fetched by Twisted's Agent: ADDRESS PAGES IN_FLIGHT KEEP_ALIVE."""

import sys
import time
import warnings

from twisted.internet import defer, reactor, task
from twisted.web.client import Agent, HTTPConnectionPool, _HTTP11ClientFactory, readBody

PAGE = 1024
warnings.filterwarnings("ignore", "Using readBody")
address, pages, in_flight, keep_alive = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
_HTTP11ClientFactory.noisy = False


@defer.inlineCallbacks
def worker(agent, url, numbers):
    for _ in numbers:
        response = yield agent.request(b"GET", url)
        body = yield readBody(response)
        assert (response.code, len(body)) == (200, PAGE)


@defer.inlineCallbacks
def main(reactor):
    pool = HTTPConnectionPool(reactor, persistent=keep_alive)
    pool.maxPersistentPerHost = in_flight
    agent = Agent(reactor, pool=pool)
    numbers = iter(range(pages))
    wall, cpu = time.perf_counter(), time.process_time()
    url = f"http://{address}/".encode()
    yield defer.gatherResults([worker(agent, url, numbers) for _ in range(in_flight)])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"sample cpu={cpu * 1e9 / pages} rate={pages / wall}", flush=True)
    yield pool.closeCachedConnections()


task.react(main)
