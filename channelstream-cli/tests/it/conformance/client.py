"""A small client of event streams that keeps to the specification, but for one fault that is named."""

import base64
import hashlib
import hmac
import json
import os
import random
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

FAULT = sys.argv[1]
LARGEST = 16 * 1024 * 1024
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def tell(event, **fields):
    line = json.dumps({"event": event, **fields}) + "\n"
    for _ in range(2 if FAULT == "tells twice" and event == "message" else 1):
        sys.stdout.write(line)
    if FAULT == "prints nonsense":
        sys.stdout.write("listening\n")
    if FAULT == "floods" and event == "message":
        while True:
            sys.stdout.write(line)
    sys.stdout.flush()


def die(text):
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    os._exit(3)


class Unknown(Exception):
    """The server does not know the connection."""


class Over(Exception):
    """The listener ends."""


class Listener:
    def __init__(self, order):
        self.order = order
        self.conn_id = order["conn_id"]
        self.cursor = order["cursor"] or ""
        self.failures = 0
        self.late = 0.0

    def run(self):
        while True:
            try:
                self.stream()
            except Unknown:
                if FAULT != "keeps an unknown connection" and not self.renew():
                    return
            except Over as over:
                if FAULT != "takes over in turn":
                    tell("ended", reason=str(over))
                    return
            except (OSError, ValueError) as error:
                tell("interrupted", error=str(error))
            self.pause()

    def renew(self):
        url = self.order["connect_url"]
        if not url:
            tell("ended", reason="unknown_connection")
            return False
        with OPENER.open(urllib.request.Request(url, b"{}", method="POST")) as answer:
            self.conn_id = json.load(answer)["conn_id"]
        if FAULT == "forgets the cursor of an ended connection":
            self.cursor = ""
        return True

    def pause(self):
        if FAULT == "does not pause":
            return
        longest, first = self.order["longest_pause"], self.order["first_pause"]
        pause = min(first * 2**self.failures, longest) * random.uniform(0.5, 1)
        time.sleep(max(pause, min(self.late, longest)))
        self.failures, self.late = self.failures + 1, 0.0

    def stream(self):
        url = urllib.parse.urlsplit(self.order["url"])
        since = "" if FAULT == "does not ask for cursors" else f"&since={self.cursor}"
        if FAULT == "begins anew":
            since = "&since="
        with socket.create_connection((url.hostname, url.port)) as tcp:
            if FAULT != "is patient with silence":
                tcp.settimeout(self.order["silence"])
            if FAULT == "is impatient":
                tcp.settimeout(0.1)
            secret = "X-Channelstream-Secret: mine\r\n" if FAULT == "shows a secret" else ""
            head = f"GET /sse?conn_id={self.conn_id}{since} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            tcp.sendall(f"{head}{secret}Accept: text/event-stream\r\n\r\n".encode())
            if FAULT == "does not read":
                time.sleep(3600)
            with tcp.makefile("rb") as answer:
                self.read(answer)

    def read(self, answer):
        status = int(answer.readline().split()[1])
        headers = {}
        while (line := answer.readline().decode().strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if status == 204:
            raise Unknown
        if status == 422 and self.cursor and FAULT != "keeps a cursor that was refused":
            self.cursor = ""
            tell("gap", channel=None, reason="epoch", cursor=None)
            return
        if status >= 500:
            if FAULT != "passes over Retry-After":
                self.late = float(headers.get("retry-after", 0))
            if FAULT == "gives up a busy server":
                raise Over("refused")
        if status != 200 or headers.get("content-type") != "text/event-stream":
            if FAULT == "ends at foreign answers":
                raise Over("refused")
            raise ValueError(f"status {status}")
        tell("open")
        Blocks(self, answer).read()

    def take(self, kind, seq, data):
        self.failures = 0
        event = json.loads(data)
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            event = {}
        kind = event.get("type")
        names = {
            "message": "message",
            "message:edit": "edited",
            "message:delete": "deleted",
            "message:append": "appended",
            "presence": "presence",
            "gap": "gap",
        }
        known = kind in names or FAULT != "passes over the cursors of unknown events"
        if seq and known:
            self.cursor = seq
        if kind == "gap" and FAULT == "passes over gaps":
            return
        if kind in names and (kind == "gap" or isinstance(event.get("uuid"), str)):
            told = {key: event.get(key) for key in ("uuid", "channel", "user", "message", "reason")}
            told |= {key: event[key] for key in ("append", "from", "rev", "status") if key in event}
            if kind == "presence":
                told["action"] = event["message"]["action"]
            tell(names[kind], **told, catchup=event.get("catchup", False), cursor=self.cursor)
        elif FAULT == "ends at unknown events" and kind != "cursor":
            die("an unknown event")


class Blocks:
    """Reads chunks, and makes blocks of them."""

    def __init__(self, listener, answer):
        self.listener, self.answer, self.rest = listener, answer, b""
        self.fields, self.retry, self.has_begun = {}, None, False

    def read(self):
        while (size := int(self.answer.readline() or b"x", 16)):
            piece = b""
            while len(piece) < size:
                more = self.answer.read1(size - len(piece))
                if not more:
                    if FAULT == "delivers half an event":
                        self.end(piece + b"\n\n")
                    raise ValueError("the stream broke off")
                piece += more
            self.answer.readline()
            self.take(piece)
        if self.retry is not None and self.retry > 3_600_000:
            raise Over("superseded")
        if FAULT == "ends at a drain":
            raise Over("disconnected")
        raise ValueError("the stream ended")

    def end(self, piece):
        try:
            self.take(piece)
        except ValueError:
            self.listener.take("message", None, '{"type": "message", "uuid": "half"}')

    def take(self, piece):
        if FAULT == "decodes pieces":
            piece = piece.decode(errors="replace").encode()
        self.rest += piece
        if len(self.rest) > LARGEST and FAULT != "takes endless events":
            raise ValueError("an event is too large")
        if b"\n" not in piece:
            return
        *lines, self.rest = self.rest.split(b"\n")
        if FAULT == "splits lines at other characters":
            lines = [part.encode() for line in lines for part in (line.decode().splitlines() or [""])]
        for line in lines:
            name, _, value = line.decode().partition(":")
            if line:
                self.fields[name] = value.removeprefix(" ")
                continue
            fields, self.fields = self.fields, {}
            if "retry" in fields:
                self.retry = int(fields["retry"]) if self.has_begun else None
                self.has_begun = True
            if "data" in fields:
                try:
                    self.listener.take(fields.get("event"), fields.get("id"), fields["data"])
                except ValueError:
                    if FAULT == "ends at malformed events":
                        die("not JSON")
                    raise


class Publisher:
    """Signs and repeats requests."""

    def __init__(self):
        self.knows_keys = False

    def publish(self, order):
        key = str(uuid.uuid4())
        body = json.dumps([order["message"]])
        in_doubt = False
        for attempt in range(1000 if FAULT == "never gives up" else 4):
            if FAULT == "makes a key for each request":
                key = str(uuid.uuid4())
            status, headers, answer = self.send(order, key, body)
            outcome = answer.get("outcome") if isinstance(answer, dict) else None
            if status == 200 and (isinstance(answer, list) or FAULT == "believes any 200"):
                self.knows_keys = "idempotency-replayed" in headers
                tell("published", id=order["id"])
                return
            is_doubt = status == 200 or status is None or (status >= 500 and outcome != "not_done")
            in_doubt = in_doubt or is_doubt
            final = status is not None and 300 <= status < 500 and status not in (408, 429)
            if final and FAULT != "repeats what is refused":
                break
            if is_doubt and not self.knows_keys and FAULT != "repeats without keys":
                break
            late = float(headers.get("retry-after", 0))
            if late > 5:
                if FAULT != "is too early":
                    break
                late = 0
            if FAULT != "passes over Retry-After":
                time.sleep(max(late, 0.01 * 2 ** min(attempt, 3)))
        tell("failed", id=order["id"], in_doubt=in_doubt and FAULT != "says that nothing was done")

    def grow(self, order):
        name = str(uuid.uuid4())
        self.until_done(order, "POST", {**order["message"], "uuid": name, "status": "open"})
        step = 0
        for piece in [*order["pieces"], None]:
            step += 1
            what = {"status": "done"} if piece is None else {"append": {"text": piece}}
            item = {"uuid": name, "channel": order["message"]["channel"], **what, "step": step}
            if FAULT == "counts no steps":
                del item["step"]
            while not self.until_done(order, "PATCH", item) and FAULT == "appends again":
                step += 1
                item["step"] = step
        tell("published", id=order["id"])

    def until_done(self, order, method, item):
        """Repeat a request until it is answered; the step of an append says that it is the same."""
        key = str(uuid.uuid4())
        while True:
            status, _, answer = self.send(order, key, json.dumps([item]), method)
            if status == 200 and isinstance(answer, list):
                return True
            if FAULT == "appends again" and method == "PATCH":
                return False
            time.sleep(0.05)

    def send(self, order, key, body, method="POST"):
        url = order["url"] + "/message"
        headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{key}"'}
        headers["x-channelstream-secret"] = signature(order["secret"])
        while True:
            request = urllib.request.Request(url, body.encode(), headers, method=method)
            try:
                with NO_REDIRECT.open(request, timeout=20) as answer:
                    return self.read(answer.status, answer)
            except urllib.error.HTTPError as error:
                if error.code == 307 and FAULT == "follows redirects":
                    url = error.headers["Location"]
                    continue
                return self.read(error.code, error)
            except (OSError, ValueError):
                return None, {}, None

    def read(self, status, answer):
        headers = {name.lower(): value for name, value in answer.headers.items()}
        try:
            return status, headers, json.loads(answer.read())
        except ValueError:
            return status, headers, None


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


NO_REDIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def signature(secret):
    if FAULT == "signs with another secret":
        secret = "another"
    now = int(time.time())
    stamp = base64.urlsafe_b64encode(now.to_bytes(4, "big")).decode().rstrip("=")
    text = f"/message.{stamp}"
    key = hashlib.sha1(b"itsdangerous.Signersigner" + secret.encode()).digest()
    digest = hmac.new(key, text.encode(), "sha1").digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def main():
    if FAULT == "dies":
        die("I am dead")
    publisher = Publisher()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "listen":
            threading.Thread(target=Listener(order).run, daemon=True).start()
        elif order["do"] == "publish":
            publisher.publish(order)
        elif order["do"] == "grow":
            publisher.grow(order)
        else:
            break
    if FAULT == "does not stop":
        threading.Event().wait()
    # Threads that read or write hold nobody up.
    os._exit(0)


main()
