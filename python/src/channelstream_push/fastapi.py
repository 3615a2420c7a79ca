"""For FastAPI: a lifespan with the client, a dependency, and a router for pages that connect."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse

from .aio import AsyncPush
from .errors import CallError, SettingsError
from .web import (
    FOREIGN,
    PRIVATE,
    Allowed,
    connecting,
    is_foreign,
    known_origins,
    refusal,
)

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
    """Return the client of the application, for `Depends`.

    Raises:
        SettingsError: the lifespan has made none.
    """
    push: AsyncPush | None = getattr(connection.app.state, "channelstream_push", None)
    if push is None:
        msg = (
            "there is no client: FastAPI(lifespan=lifespan(...)) makes it when the application "
            "starts, and in tests `with TestClient(app) as client` starts it"
        )
        raise SettingsError(msg)
    return push


#: The type of a parameter that is the client of the application.
PushClient = Annotated[AsyncPush, Depends(client)]


def connect_router(
    user: Callable[..., Any],
    channels: Callable[[Any], Allowed | Awaitable[Allowed]] = lambda _: (),
    *,
    origins: Iterable[str] = (),
) -> APIRouter:
    """Return a router with `POST /connect`, for `app.include_router(..., prefix="/push")`.

    Args:
        user: a dependency that returns the user of the request, a name or an id, or none if nobody
            is signed in.
        channels: returns the channels that a user may listen to, or is a coroutine that does. What
            the page asks for does not count.
        origins: those of pages of other sites that may connect, beside what CORS allows them.
    """
    router = APIRouter()
    known = known_origins(origins)

    @router.post("/connect")
    async def connect(
        request: Request,
        push: PushClient,
        # Not in the hint, which is a text and cannot name what only this function knows.
        name: str | int | None = Depends(user),
    ) -> JSONResponse:
        if is_foreign(request.headers, known):
            return JSONResponse(FOREIGN, 403, PRIVATE)
        if not name:
            return JSONResponse({"error": "nobody is signed in"}, 403, PRIVATE)
        try:
            found = channels(name)
            allowed = await found if inspect.isawaitable(found) else found
            answer = await push.call(connecting(name, allowed))
        except CallError as error:
            logger.warning("a page is not connected: %s", error)
            status, body, headers = refusal(error)
            return JSONResponse(body, status, headers)
        return JSONResponse(answer, headers=PRIVATE)

    return router
