"""The extension in a real Flask application, against the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Flask, session

from channelstream_push import ChannelConfig, Message, RetryPolicy, SettingsError
from channelstream_push.flask import FlaskPush
from stage import SECRET, Server

if TYPE_CHECKING:
    from flask.testing import FlaskClient


def application(address: str, **settings: object) -> tuple[Flask, FlaskPush]:
    app = Flask(__name__)
    app.secret_key = "of the tests"
    app.config.update(CHANNELSTREAM_URL=address, CHANNELSTREAM_SECRET=SECRET, **settings)
    extension = FlaskPush(user=lambda: session.get("user"), channels=lambda user: [f"of-{user}"])
    extension.init_app(app)

    @app.post("/say/<channel>")
    def say(channel: str) -> dict[str, object]:
        (posted,) = extension.push.publish(Message("bot", {"text": "x"}, channel=channel))
        return {"stored": posted.stored}

    return app, extension


def browser(app: Flask, user: str) -> FlaskClient:
    client = app.test_client()
    with client.session_transaction() as own:
        own["user"] = user
    return client


def test_the_user_of_the_session_is_connected(running: Server, name: str) -> None:
    patient = RetryPolicy(repeats=1000, longest_pause=1, total=240)
    app, extension = application(
        running.address, CHANNELSTREAM_SIGN_BODIES=True, CHANNELSTREAM_RETRIES=patient
    )
    answer = browser(app, name).post("/push/connect", json={"channels": ["all"]})
    body = answer.get_json()
    assert (body["username"], body["channels"]) == (name, [f"of-{name}"])
    assert answer.headers["Cache-Control"] == "no-store"
    with app.app_context():
        assert extension.push._config.retries is patient
        assert extension.push.disconnect(body["conn_id"])
        extension.push.close()


def test_a_view_publishes(running: Server, name: str) -> None:
    app, extension = application(running.address)
    with app.app_context():
        extension.push.channel_config({name: ChannelConfig(store_history=True)})
        assert app.test_client().post(f"/say/{name}").get_json() == {"stored": True}
        extension.push.close()


def test_only_users_are_connected_and_refusals_say_no_more_than_they_must(
    running: Server, name: str
) -> None:
    app, extension = application(running.address)
    assert app.test_client().post("/push/connect").status_code == 403
    assert app.test_client().get("/push/connect").status_code == 405
    with app.app_context():
        extension.push.disconnect_user(name, reason="spam", refuse_for=60)
        refused = browser(app, name).post("/push/connect")
        assert refused.status_code == 403
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        extension.push.close()
    app, _ = application("http://127.0.0.1:1")
    away = browser(app, name).post("/push/connect")
    assert (away.status_code, away.get_json()) == (
        503,
        {"error": "the push server does not answer"},
    )


def test_pages_of_other_sites_are_not_connected(running: Server, name: str) -> None:
    app, extension = application(running.address)
    foreign = {"Origin": "https://evil.example"}
    refused = browser(app, name).post("/push/connect", headers=foreign)
    assert (refused.status_code, refused.get_json()) == (
        403,
        {"error": "the page is of another site"},
    )
    own = browser(app, name).post("/push/connect", headers={"Origin": "https://localhost"})
    assert own.status_code == 200
    with app.app_context():
        extension.push.close()
    known = Flask("known")
    known.config.update(CHANNELSTREAM_URL=running.address, CHANNELSTREAM_SECRET=SECRET)
    extension = FlaskPush(known, user=lambda: 5, origins=["https://evil.example"])
    answer = known.test_client().post("/push/connect", headers=foreign)
    assert answer.get_json()["username"] == "5"
    with known.app_context():
        extension.push.close()


def test_channels_that_are_one_text_are_an_error(running: Server) -> None:
    app = Flask("wrong")
    app.testing = True
    app.config.update(CHANNELSTREAM_URL=running.address, CHANNELSTREAM_SECRET=SECRET)
    FlaskPush(app, user=lambda: "ann", channels=lambda _: "room")
    with pytest.raises(TypeError, match="and not one text"):
        app.test_client().post("/push/connect")


def test_what_the_server_refuses_is_not_asked_again(running: Server) -> None:
    app, extension = application(running.address)
    refused = browser(app, "x" * 10_000).post("/push/connect")
    assert refused.status_code == 422
    with app.app_context():
        extension.push.close()


def test_bad_settings_stop_the_start() -> None:
    with pytest.raises(SettingsError, match="does not begin with http"):
        application("")
