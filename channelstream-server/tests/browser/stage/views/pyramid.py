# What an application in Pyramid has around the view that the tutorial shows.
import os
from wsgiref.simple_server import make_server

from pyramid.authentication import AuthTktCookieHelper
from pyramid.config import Configurator
from pyramid.response import Response
from pyramid.security import remember

# SNIPPET


class Policy:
    cookies = AuthTktCookieHelper("of this test")

    def authenticated_userid(self, request):
        return (self.cookies.identify(request) or {}).get("userid")

    def remember(self, request, userid):
        return self.cookies.remember(request, userid)


@view_config(route_name="page")
def page(request):
    return Response(os.environ["PAGE"])


@view_config(route_name="sign_in")
def sign_in(request):
    return Response(headerlist=remember(request, "ann"))


with Configurator() as config:
    config.set_security_policy(Policy())
    config.add_route("push_connect", "/push/connect")
    config.add_route("page", "/")
    config.add_route("sign_in", "/sign_in")
    config.scan()
make_server("127.0.0.1", int(os.environ["PORT"]), config.make_wsgi_app()).serve_forever()
