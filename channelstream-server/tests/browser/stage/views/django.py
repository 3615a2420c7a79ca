# What a project in Django has around the view that the tutorial shows.
import os
from wsgiref.simple_server import make_server

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of this test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    # In memory: this server has one thread.
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

# SNIPPET

from django.contrib.auth import get_user_model, login
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import ensure_csrf_cookie


@ensure_csrf_cookie
def page(request):
    return HttpResponse(os.environ["PAGE"])


def sign_in(request):
    login(request, get_user_model().objects.get(username="ann"))
    return HttpResponse()


urlpatterns = [path("", page), path("sign_in", sign_in), path("push/connect", push_connect)]
call_command("migrate", verbosity=0)
get_user_model().objects.create_user("ann")
make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application()).serve_forever()
