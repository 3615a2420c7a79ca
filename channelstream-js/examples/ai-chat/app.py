"""The backend of a chat with the AI SDK, in FastAPI: its answers are messages that grow.

README.md beside this file has the commands. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET set another push
server, PORT another port.
"""

import asyncio
import os
from typing import Literal
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from itsdangerous import TimestampSigner
from pydantic import BaseModel, Field

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000").rstrip("/")
USER, CHATS = "ann", ["demo"]  # a real application has a sign-in, and knows whose chats these are
HISTORY = {"store_history": True, "history_size": 200}
signer = TimestampSigner(os.environ.get("CHANNELSTREAM_SECRET", "secret"))
client = httpx.AsyncClient(timeout=5)
tasks = set()  # asyncio itself keeps no task alive
app = FastAPI()


async def model(question):
    """Makes a word at a time. A real one costs money for as long as it runs."""
    told = 0
    try:
        text = f"You asked: {question} - well, I am no model, but I can count for you:"
        for word in [*text.split(), *map(str, range(1, 61)), "done."]:
            await asyncio.sleep(0.1)
            yield word + " "
            told += 1
    finally:
        print(f"the model ends after {told} words")


async def push(method, path, body):
    """Sends a signed request to the push server and returns its answer."""
    key = str(uuid4())  # makes a repeat harmless
    for pause in (0.2, 1, 3, None):
        headers = {"x-channelstream-secret": signer.sign(path).decode(), "idempotency-key": key}
        try:
            answer = await client.request(method, URL + path, json=body, headers=headers)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPError:
            if pause is None:
                raise
            await asyncio.sleep(pause)


async def generate(uuid, question):
    """Appends word after word, until there are no more or the user has canceled."""
    words = model(question)
    try:
        async for word in words:
            [appended] = await push("PATCH", "/message", [{"uuid": uuid, "append": {"text": word}}])
            if not appended["taken"]:
                return
        await push("PATCH", "/message", [{"uuid": uuid, "status": "done"}])
    except httpx.HTTPError as error:
        print(f"the push server: {error!r}")
    finally:
        # Now, and not when somebody collects garbage: it costs money.
        await words.aclose()


def channel_of(chat):
    """Returns the channel of a chat of this user."""
    if chat not in CHATS:
        raise HTTPException(404, "no such chat")
    return f"chat:{chat}"


async def history(chat):
    channel = channel_of(chat)
    info = await push("POST", "/info", {"info": {"channels": [channel]}})
    return info["channels"].get(channel, {}).get("history", [])


class Connect(BaseModel):
    channels: list[str]


class Part(BaseModel):
    type: str
    text: str = ""


class ChatMessage(BaseModel):
    parts: list[Part]


class Ask(BaseModel):
    id: str
    trigger: Literal["submit-message"]
    messages: list[ChatMessage] = Field(min_length=1)


@app.post("/connect")
async def connect(wanted: Connect):
    """Connects the page to the chats that it may see, and makes their channels."""
    channels = [channel for channel in map(channel_of, CHATS) if channel in wanted.channels]
    configs = {channel: HISTORY for channel in channels}
    return await push(
        "POST", "/connect", {"username": USER, "channels": channels, "channel_configs": configs}
    )


@app.get("/api/chat/{chat}")
async def load(chat: str):
    """What the page shows at first. An answer that grows is not among it: the page resumes that."""
    messages = [
        {
            "id": message["uuid"],
            "role": "user" if message["user"] == USER else "assistant",
            "parts": [{"type": "text", "text": message["message"]["text"]}],
        }
        for message in await history(chat)
        if message.get("status") not in ("open", "stalled")
    ]
    return {"push": URL, "messages": messages}


@app.post("/api/chat")
async def ask(asked: Ask):
    """Opens the answer, and returns it as the push server does: the page listens to it from then on."""
    channel = channel_of(asked.id)
    question = "".join(part.text for part in asked.messages[-1].parts)[:200]
    said = {"user": USER, "channel": channel, "message": {"text": question}}
    answer = {
        "user": "assistant",
        "channel": channel,
        "message": {"text": ""},
        "status": "open",
        "cancel_by": [USER],
    }
    sent = await push("POST", "/message", [said, answer])
    task = asyncio.create_task(generate(sent[1]["uuid"], question))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return sent[1]


@app.get("/api/chat/{chat}/stream")
async def resume(chat: str):
    """The newest answer as it stands, also if it has ended since the page was loaded."""
    answers = [message for message in await history(chat) if "status" in message]
    return answers[-1] if answers else Response(status_code=204)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
