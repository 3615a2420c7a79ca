"""An assistant in FastAPI: its answers grow word by word, and survive the death of the process.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install -r channelstream-client/examples/assistant/requirements.txt
    python3 channelstream-client/examples/assistant/fastapi_assistant.py

Open http://127.0.0.1:8080 in two tabs. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET set another push
server, PORT another port. README.md beside this file says what to try.
"""

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from itsdangerous import TimestampSigner
from pydantic import BaseModel, Field

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000").rstrip("/")
PAGE = Path(__file__).with_name("page.html").read_text().replace("{push}", URL)
USER, CHANNEL = "ann", "assistant"  # a real application has a sign-in, and a channel for each chat
HISTORY = {CHANNEL: {"store_history": True, "history_size": 50}}
SILENCE = 2  # seconds without a word after which another process goes on with an answer
signer = TimestampSigner(os.environ.get("CHANNELSTREAM_SECRET", "secret"))
client = httpx.AsyncClient(timeout=5)
tasks = set()  # asyncio itself keeps no task alive


async def model(question, so_far):
    """A model that makes a word at a time, and goes on with a text that it has begun."""
    text = f"You asked: {question} - well, I am no model, but I can count for you:"
    words = [*text.split(), *map(str, range(1, 31)), "done."]
    for word in words[len(so_far.split()) :]:
        await asyncio.sleep(0.15)
        yield word + " "


async def push(method, path, body):
    """Sends a signed request to the push server and returns its answer."""
    for pause in (0.2, 1, 3, None):
        headers = {"x-channelstream-secret": signer.sign(path).decode()}
        try:
            answer = await client.request(method, URL + path, json=body, headers=headers)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPError:
            # Steps and ids make a repeat harmless.
            if pause is None:
                raise
            await asyncio.sleep(pause)


async def change(uuid, *items):
    """Lets a message grow, and returns what the push server says about each item."""
    return await push("PATCH", "/message", [{"uuid": uuid, **item} for item in items])


async def generate(uuid, question, so_far="", step=0):
    """Appends word after word. The push server takes each step once, whoever sends it."""
    async for word in model(question, so_far):
        step += 1
        [taken] = await change(uuid, {"append": {"text": word}, "step": step})
        # Canceled by the reader; or another process has taken this step, since we were silent.
        if not taken["taken"] or taken["step"] != step:
            return
    await change(uuid, {"status": "done", "step": step + 1})


async def take_over(uuid):
    """Goes on with an answer whose process has died."""
    [there] = await change(uuid, {"append": {}})  # changes nothing, and tells how far it is
    last = there.get("step", 0)
    # Two steps in one request: if another process was quicker, the first answer has its step.
    claims = [{"append": {}, "step": last + 1}, {"append": {}, "step": last + 2}]
    first, _ = await change(uuid, *claims)
    if not first["taken"] or first["step"] != last + 1:
        return
    for message in await history():
        if message["uuid"] == uuid:
            text = message["message"]
            await generate(uuid, text["question"], text["text"], last + 2)


async def history():
    info = await push("POST", "/info", {"info": {"channels": [CHANNEL]}})
    return info["channels"].get(CHANNEL, {}).get("history", [])


async def watch():
    """Looks for answers that have stalled."""
    while True:
        await asyncio.sleep(1)
        try:
            for message in await history():
                if message.get("status") == "stalled":
                    start(take_over(message["uuid"]))
        except httpx.HTTPError as error:
            print(f"the push server: {error}")


def start(work):
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


@asynccontextmanager
async def life(_):
    start(watch())
    yield


app = FastAPI(lifespan=life)


class Question(BaseModel):
    text: str = Field(min_length=1, max_length=200)


@app.get("/")
async def page():
    return HTMLResponse(PAGE)


@app.post("/connect")
async def connect():
    """Creates a connection for the page. Its answer has the history, with answers that still grow."""
    body = {"username": USER, "channels": [CHANNEL], "channel_configs": HISTORY}
    return await push("POST", "/connect", body)


@app.post("/ask")
async def ask(question: Question):
    asked = {"user": USER, "channel": CHANNEL, "message": {"text": question.text}}
    answer = {
        "user": "assistant",
        "channel": CHANNEL,
        "message": {"text": "", "question": question.text},
        "status": "open",
        "append_timeout": SILENCE,
        "cancel_by": [USER],
    }
    sent = await push("POST", "/message", [asked, answer])
    start(generate(sent[1]["uuid"], question.text))
    return {"uuid": sent[1]["uuid"]}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
