"""An echo server on Twisted."""

import signal

from twisted.internet import protocol, reactor


class Echo(protocol.Protocol):
    messages = 0
    bytes = 0

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        self.messages += 1
        self.bytes += len(data)
        self.transport.write(data)


signal.alarm(180)
factory = protocol.Factory.forProtocol(Echo)
factory.noisy = False
address = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost()
print(f"listening {address.host}:{address.port}", flush=True)
reactor.run()
