"""A site with one page: BODY."""

import sys

from twisted.internet import reactor
from twisted.web import resource, server

from measure import listening


class Page(resource.Resource):
    isLeaf = True
    body = sys.argv[1].encode()

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        return self.body


site = server.Site(Page())
site.noisy = False
address = reactor.listenTCP(0, site, interface="127.0.0.1").getHost()
reactor.callWhenRunning(listening, address.host, address.port)
reactor.run()
