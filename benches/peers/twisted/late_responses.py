"""A site whose page is sent a millisecond later: BODY."""

import sys

from twisted.internet import reactor
from twisted.web import resource, server

from measure import listening


class Page(resource.Resource):
    isLeaf = True
    body = sys.argv[1].encode()

    def render_GET(self, request):
        reactor.callLater(0.001, self.send, request)
        return server.NOT_DONE_YET

    def send(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        request.write(self.body)
        request.finish()


site = server.Site(Page())
site.noisy = False
address = reactor.listenTCP(0, site, interface="127.0.0.1").getHost()
reactor.callWhenRunning(listening, address.host, address.port)
reactor.run()
