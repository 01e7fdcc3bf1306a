"""`callLater` and `DelayedCall`."""

from twisted.internet import reactor

import timer_workloads


class Loop(timer_workloads.Loop):
    def __init__(self):
        self.later, self.run, self.stop = reactor.callLater, reactor.run, reactor.stop

    def cancel(self, call):
        call.cancel()

    def reset(self, call, delay):
        call.reset(delay)
        return call


timer_workloads.main(Loop())
