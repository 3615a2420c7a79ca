"""For FastAPI: a lifespan with the client, a dependency, and a router for pages that connect."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse

from .aio import AsyncPush
from .errors import CallError
from .requests import Connect
from .web import PRIVATE, connected, connecting, refusal

logger = logging.getLogger("channelstream_push.fastapi")

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def lifespan(make: Callable[[], AsyncPush]) -> Lifespan:
    """Return a lifespan: `FastAPI(lifespan=lifespan(lambda: AsyncPush(url, secret)))`.

    The client is made when the application starts, and closed when it ends.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with make() as push:
            app.state.channelstream_push = push
            yield

    return life


def client(connection: HTTPConnection) -> AsyncPush:
    """Return the client of the application, for `Depends`."""
    push: AsyncPush = connection.app.state.channelstream_push
    return push


#: The type of a parameter that is the client of the application.
PushClient = Annotated[AsyncPush, Depends(client)]


def connect_router(
    user: Callable[..., Any],
    channels: Callable[[str], Sequence[str] | Connect] = lambda _: (),
) -> APIRouter:
    """Return a router with `POST /connect`, for `app.include_router(..., prefix="/push")`.

    Args:
        user: a dependency that returns the name of the user of the request, or none if nobody is
            signed in.
        channels: returns the channels that a user may listen to. What the page asks for does not
            count.
    """
    router = APIRouter()

    @router.post("/connect")
    async def connect(
        push: PushClient,
        # Not in the hint, which is a text and cannot name what only this function knows.
        name: str | None = Depends(user),
    ) -> JSONResponse:
        if not name:
            return JSONResponse({"error": "nobody is signed in"}, 403, PRIVATE)
        try:
            answer = await push.call(connecting(name, channels(name)))
        except CallError as error:
            logger.warning("a page is not connected: %s", error)
            status, body, headers = refusal(error)
            return JSONResponse(body, status, headers)
        return JSONResponse(connected(answer), headers=PRIVATE)

    return router
