"""The part for Pyramid in a real application, against the real server."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid.scripting import prepare

from channelstream_push import ChannelConfig, Connect, Message, Push, RetryPolicy, SettingsError
from stage import SECRET, Server

PATIENT = RetryPolicy(repeats=1000, longest_pause=1, total=240)


class Policy:
    """The user is in a header, as a test has no browser with a session."""

    def identity(self, request: Request) -> Any:
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Request) -> Any:
        return request.headers.get("user")

    def permits(self, *_: object) -> bool:
        return False


def own_channel(request: Request) -> list[str]:
    return [f"of-{request.authenticated_userid}"]


def say(request: Request) -> Response:
    (posted,) = request.push.publish(Message("bot", {"text": "x"}, channel=request.params["to"]))
    return Response(json={"stored": posted.stored})


def application(address: str, prefix: str | None = None, **settings: Any) -> Any:
    own = {f"channelstream.{key}": value for key, value in settings.items()}
    own = {"channelstream.secret": SECRET, "channelstream.channels": own_channel, **own}
    # The settings as an ini file has them.
    with Configurator(settings={"channelstream.url": address, **own}) as config:
        config.set_security_policy(Policy())
        config.set_default_permission("edit")
        config.include("channelstream_push.pyramid", route_prefix=prefix)
        config.add_route("say", "/say")
        config.add_view(say, route_name="say", permission="__no_permission_required__")
    return SimpleNamespace(wsgi=config.make_wsgi_app(), registry=config.registry)


def post(app: Any, path: str, user: str | None = None, **parts: Any) -> Response:
    headers = {"user": user} if user is not None else {}
    return Request.blank(path, method="POST", headers=headers, **parts).get_response(app.wsgi)


def client(app: Any) -> Push:
    with prepare(registry=app.registry) as script:
        push: Push = script["request"].push
        return push


def test_the_user_of_the_request_is_connected(running: Server, name: str) -> None:
    app = application(
        running.address, sign_bodies="true", timeout="20", retries="test_pyramid.PATIENT"
    )
    answer = post(app, "/push/connect", name, body=b'{"channels": ["all"]}')
    assert answer.status_int == 200
    body = answer.json
    assert (body["username"], body["channels"]) == (name, [f"of-{name}"])
    assert answer.headers["Cache-Control"] == "no-store"
    with client(app) as push:
        assert push._config.timeout == 20
        assert push._config.retries.total == 240
        assert push._config.signer.header == "x-channelstream-signature"
        assert push.disconnect(body["conn_id"])


def test_a_view_publishes_by_the_one_client(running: Server, name: str) -> None:
    app = application(running.address)
    with client(app) as push:
        assert client(app) is push
        push.channel_config({name: ChannelConfig(store_history=True)})
        assert post(app, f"/say?to={name}").json == {"stored": True}


def test_who_and_where_are_functions_of_the_application(running: Server, name: str) -> None:
    def user(request: Request) -> str | None:
        found: str | None = request.params.get("as")
        return found

    def channels(request: Request) -> Connect:
        return Connect(request.params["as"], channels=[name], user_state={"color": "red"})

    app = application(running.address, "api", user=user, channels=channels)
    answer = post(app, f"/api/push/connect?as={name}")
    assert (answer.json["channels"], answer.json["state"]) == ([name], {"color": "red"})
    assert post(app, "/api/push/connect", name).status_int == 403
    client(app).close()


def test_functions_have_dotted_names(running: Server, name: str) -> None:
    app = application(running.address, channels="test_pyramid.own_channel")
    assert post(app, "/push/connect", name).json["channels"] == [f"of-{name}"]
    client(app).close()


def test_only_users_are_connected_and_refusals_say_no_more_than_they_must(
    running: Server, name: str
) -> None:
    app = application(running.address)
    for user in (None, ""):
        nobody = post(app, "/push/connect", user)
        assert (nobody.status_int, nobody.json) == (403, {"error": "nobody is signed in"})
        assert nobody.headers["Cache-Control"] == "no-store"
    asked = Request.blank("/push/connect", headers={"user": name}).get_response(app.wsgi)
    assert asked.status_int == 404
    with client(app) as push:
        push.disconnect_user(name, reason="spam", refuse_for=60)
        refused = post(app, "/push/connect", name)
        assert refused.status_int == 403
        assert 0 < int(refused.headers["Retry-After"]) <= 60
    away = post(application("http://127.0.0.1:1"), "/push/connect", name)
    assert (away.status_int, away.json) == (503, {"error": "the push server does not answer"})
    assert SECRET not in json.dumps(away.json)


def test_pages_of_other_sites_are_not_connected(running: Server, name: str) -> None:
    app = application(running.address, origins="https://app.example https://other.example")
    for origin, status in {
        "https://evil.example": 403,
        "http://localhost": 200,
        "https://app.example": 200,
    }.items():
        headers = {"user": name, "origin": origin}
        answer = Request.blank("/push/connect", method="POST", headers=headers)
        assert answer.get_response(app.wsgi).status_int == status
    client(app).close()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": ""}, "does not begin with http"),
        ({"secret": ""}, "needs a secret"),
        ({"secret_fiel": "x"}, r"did you mean channelstream\.secret_file\?"),
        ({"timeout": "soon"}, "timeout is a number"),
        ({"channels": "test_pyramid.nothing"}, "channelstream.channels cannot be imported"),
        ({"channels": "test_pyramid.SECRET"}, "channelstream.channels is a function"),
        ({"retries": "test_pyramid.SECRET"}, "channelstream.retries is a RetryPolicy"),
        ({"retries": "3"}, "channelstream.retries cannot be imported"),
        ({"user": "no_such_module.user"}, "channelstream.user cannot be imported"),
    ],
)
def test_bad_settings_stop_the_start(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        application(settings.pop("url", "http://127.0.0.1:1"), **settings)
