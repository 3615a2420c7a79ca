"""The lifespan, dependency and router in a real FastAPI application, against the real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import httpx
import pytest
from fastapi import FastAPI, Header

from channelstream_push import AsyncPush, ChannelConfig, SettingsError
from channelstream_push.fastapi import PushClient, connect_router, lifespan
from stage import SECRET, Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


async def own_channel(name: str) -> list[str]:
    return [f"of-{name}"]


def application(address: str) -> FastAPI:
    app = FastAPI(lifespan=lifespan(lambda: AsyncPush(address, SECRET)))
    app.include_router(connect_router(user, lambda name: [f"of-{name}"]), prefix="/push")

    @app.post("/say/{channel}")
    async def say(channel: str, push: PushClient) -> dict[str, str | None]:
        await push.channel_config({channel: ChannelConfig(store_history=True)})
        async with push.stream(channel, user="bot") as out:
            await out.write("Hello")
        (message,) = (await push.history(channel)).messages
        return {"status": message.status, **(message.message or {})}

    return app


def run(address: str, visit: Callable[[httpx.AsyncClient, FastAPI], Awaitable[None]]) -> None:
    async def main() -> None:
        app = application(address)
        transport = httpx.ASGITransport(app)
        # The transport of httpx starts no lifespan.
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://testserver") as client,
        ):
            await visit(client, app)

    asyncio.run(main())


def test_the_user_of_the_request_is_connected(running: Server, name: str) -> None:
    async def visit(client: httpx.AsyncClient, app: FastAPI) -> None:
        wanted, own = {"channels": ["all"]}, {"X-User": name}
        answer = await client.post("/push/connect", json=wanted, headers=own)
        body = answer.json()
        assert (body["username"], body["channels"]) == (name, [f"of-{name}"])
        assert answer.headers["cache-control"] == "no-store"
        assert await app.state.channelstream_push.disconnect(body["conn_id"])
        assert (await client.post("/push/connect")).status_code == 403

    run(running.address, visit)


def test_pages_of_other_sites_are_not_connected(running: Server, name: str) -> None:
    async def visit(client: httpx.AsyncClient, app: FastAPI) -> None:
        router = connect_router(user, own_channel, origins=["https://app.example"])
        app.include_router(router, prefix="/known")
        for path, origin, status in (
            ("/push", "https://app.example", 403),
            ("/push", "https://testserver", 200),
            ("/known", "https://app.example", 200),
        ):
            headers = {"X-User": name, "Origin": origin}
            answer = await client.post(f"{path}/connect", headers=headers)
            assert answer.status_code == status
            # The function that says the channels of the second one is a coroutine.
            assert answer.json().get("channels", [f"of-{name}"]) == [f"of-{name}"]

    run(running.address, visit)


def test_without_a_lifespan_the_error_says_what_to_do() -> None:
    app = FastAPI()
    app.include_router(connect_router(user))

    async def main() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            with pytest.raises(SettingsError, match=r"FastAPI\(lifespan=lifespan"):
                await client.post("/connect", headers={"X-User": "ann"})

    asyncio.run(main())


def test_a_view_streams(running: Server, name: str) -> None:
    async def visit(client: httpx.AsyncClient, _: FastAPI) -> None:
        answer = await client.post(f"/say/{name}")
        assert answer.json() == {"status": "done", "text": "Hello"}

    run(running.address, visit)


def test_refusals_say_no_more_than_they_must(running: Server, name: str) -> None:
    async def refused(client: httpx.AsyncClient, app: FastAPI) -> None:
        push: AsyncPush = app.state.channelstream_push
        await push.disconnect_user(name, reason="spam", refuse_for=60)
        answer = await client.post("/push/connect", headers={"X-User": name})
        assert (answer.status_code, answer.json()) == (403, {"error": "the user may not connect"})
        assert 0 < int(answer.headers["retry-after"]) <= 60

    async def away(client: httpx.AsyncClient, _: FastAPI) -> None:
        answer = await client.post("/push/connect", headers={"X-User": name})
        assert answer.status_code == 503
        assert "127.0.0.1" not in answer.text

    run(running.address, refused)
    run("http://127.0.0.1:1", away)


def test_the_client_is_closed_with_the_application(running: Server) -> None:
    kept: list[AsyncPush] = []

    async def visit(_: httpx.AsyncClient, app: FastAPI) -> None:
        kept.append(app.state.channelstream_push)
        await kept[0].info(channels=[])
        assert kept[0]._looped._clients

    run(running.address, visit)
    assert kept[0]._looped._is_closed
    assert not kept[0]._looped._clients
