"""A room in FastAPI: users say something, and a bot's answer grows while it is made.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install './python[fastapi]' itsdangerous python-multipart uvicorn
    python3 python/examples/fastapi_room.py

Open http://127.0.0.1:5000. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET name another push server,
PORT another port. A real application asks for a password.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.middleware.sessions import SessionMiddleware

from channelstream_push import AsyncPush, Cancelled, ChannelConfig, Message
from channelstream_push.fastapi import PushClient, connect_router, lifespan
from channelstream_push.web import browser_client, browser_options

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
SECRET = os.environ.get("CHANNELSTREAM_SECRET", "secret")
PAGE = Path(__file__).with_name("page.html").read_text()
ROOM = "room"


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """Make the client, and the room before somebody joins, so that it has a history."""
    async with lifespan(lambda: AsyncPush(URL, SECRET))(app):
        await app.state.channelstream_push.channel_config({ROOM: ChannelConfig(store_history=True)})
        yield


def name(request: Request) -> str | None:
    """Return the user of the session, whatever the request says."""
    found: str | None = request.session.get("user")
    return found


def user(found: Annotated[str | None, Depends(name)]) -> str:
    """Return the user of the session, who must be there."""
    if not found:
        raise HTTPException(403)
    return found


User = Annotated[str, Depends(user)]

app = FastAPI(lifespan=life)
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(32), same_site="strict")
app.include_router(connect_router(name, lambda _: [ROOM]), prefix="/push")


async def model() -> AsyncIterator[str]:
    """Stand in for a language model."""
    for word in ("Once ", "upon ", "a ", "time"):
        await asyncio.sleep(0.1)
        yield word


@app.get("/")
async def page() -> HTMLResponse:
    """Show the room."""
    room = {"client": browser_client(URL), "options": browser_options(URL, "/push/connect")}
    return HTMLResponse(PAGE.replace("ROOM", json.dumps(room).replace("<", "\\u003c")))


@app.post("/sign-in")
async def sign_in(
    request: Request, name: Annotated[str, Form(min_length=1, max_length=100)]
) -> None:
    """Believe a name."""
    request.session["user"] = name


@app.post("/say")
async def say(push: PushClient, user: User, text: Annotated[str, Form(max_length=1000)]) -> None:
    """Publish what the user says."""
    await push.publish(Message(user, {"text": text}, channel=ROOM))


@app.post("/ask")
async def ask(push: PushClient, user: User) -> None:
    """Let the bot answer, until the user needs no more of it."""
    with suppress(Cancelled):
        async with push.stream(ROOM, user="bot", cancel_by=[user]) as out:
            async for part in model():
                await out.write(part)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "5000")), log_level="warning")
