"""Pages fetched by Twisted's Agent: ADDRESS PAGES IN_FLIGHT KEEP_ALIVE."""

import sys
import warnings

from twisted.internet import defer, task
from twisted.web.client import Agent, HTTPConnectionPool, _HTTP11ClientFactory, readBody

from measure import Stopwatch

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
    url = f"http://{address}/".encode()
    clock = Stopwatch()
    yield defer.gatherResults([worker(agent, url, numbers) for _ in range(in_flight)])
    clock.stop(pages)
    yield pool.closeCachedConnections()


task.react(main)
