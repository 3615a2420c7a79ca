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


def test_bad_settings_stop_the_start() -> None:
    with pytest.raises(SettingsError, match="does not begin with http"):
        application("")
