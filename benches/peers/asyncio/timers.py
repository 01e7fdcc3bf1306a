"""`call_later` and `TimerHandle`."""

import asyncio

import timer_workloads


class Loop(timer_workloads.Loop):
    def __init__(self):
        loop = asyncio.new_event_loop()
        self.later, self.run, self.stop = loop.call_later, loop.run_forever, loop.stop

    def cancel(self, call):
        call.cancel()

    def reset(self, call, delay):
        """A handle cannot be moved: its users cancel it and make another."""
        call.cancel()
        return self.later(delay, int)


timer_workloads.main(Loop())
