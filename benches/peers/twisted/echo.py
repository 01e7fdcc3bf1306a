"""An echo server on Twisted. It does not read while it cannot send."""

from twisted.internet import protocol, reactor

from measure import listening


class Echo(protocol.Protocol):
    messages = 0
    bytes = 0

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data):
        self.messages += 1
        self.bytes += len(data)
        self.transport.write(data)


factory = protocol.Factory.forProtocol(Echo)
factory.noisy = False
address = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost()
reactor.callWhenRunning(listening, address.host, address.port)
reactor.run()
