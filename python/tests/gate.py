"""A proxy before the server that loses, delays and invents answers, as a test plans it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


class Visit:
    """A request that has arrived at the gate, and the TCP connection that it came on."""

    def __init__(self, client: socket.socket, request: bytes, gate: Gate) -> None:
        self.client = client
        self.request = request
        self._gate = gate

    def header(self, name: str) -> str:
        """The value of a header of the request; empty if there is none."""
        for line in self.request.partition(b"\r\n\r\n")[0].decode().split("\r\n"):
            if line.lower().startswith(f"{name}:"):
                return line.partition(":")[2].strip()
        return ""

    @property
    def body(self) -> bytes:
        return self.request.partition(b"\r\n\r\n")[2]

    def asked(self) -> bytes:
        """What the real server answers to it."""
        head, _, body = self.request.partition(b"\r\n\r\n")
        with socket.create_connection(self._gate.target, timeout=30) as server:
            server.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
            return read_all(server)

    @property
    def is_over(self) -> bool:
        """Whether the test has ended."""
        return self._gate.is_over


Act = Callable[[Visit], None]


class Gate:
    """Each request takes the next act of the plan, and goes to the server when there is none."""

    def __init__(self, target: str = "http://127.0.0.1:9") -> None:
        self.target = (urlsplit(target).hostname or "", urlsplit(target).port or 0)
        self.plan: deque[Act] = deque()
        self.visits: list[Visit] = []
        self.is_over = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(30)
            request = read_request(client)
            if request:
                visit = Visit(client, request, self)
                self.visits.append(visit)
                act = self.plan.popleft() if self.plan else passing
                act(visit)


@contextlib.contextmanager
def gate(target: str = "http://127.0.0.1:9") -> Iterator[Gate]:
    stage = Gate(target)
    try:
        yield stage
    finally:
        stage.close()


def read_request(client: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        more = client.recv(65536)
        if not more:
            return b""
        found += more
    head, _, body = found.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def read_all(server: socket.socket) -> bytes:
    found = b""
    while more := server.recv(65536):
        found += more
    return found


def passing(visit: Visit) -> None:
    """The server answers."""
    visit.client.sendall(visit.asked())


def losing(visit: Visit) -> None:
    """The server carries the request out, and the answer is lost."""
    visit.asked()


def cutting(visit: Visit) -> None:
    """The server carries the request out, and the answer breaks off in the middle of its body."""
    answer = visit.asked()
    visit.client.sendall(answer[:-3])


def answering(answer: str) -> Act:
    """The gate itself answers, and the server sees nothing."""

    def act(visit: Visit) -> None:
        visit.client.sendall(answer.replace("\n", "\r\n").encode())

    return act


def status(line: str, body: str = "", headers: str = "") -> Act:
    """The gate itself answers with a status."""
    return answering(
        f"HTTP/1.1 {line}\nContent-Length: {len(body)}\nConnection: close\n{headers}\n{body}"
    )


def hanging(visit: Visit) -> None:
    """There is no answer at all, until the client goes."""
    visit.client.recv(1)


def dripping(start: bytes, drop: bytes) -> Act:
    """The answer never ends, and comes so slowly that each read brings something."""

    def act(visit: Visit) -> None:
        visit.client.sendall(start)
        wait = threading.Event()
        while not visit.is_over:
            visit.client.sendall(drop)
            wait.wait(0.02)

    return act


def flooding(visit: Visit) -> None:
    """The answer never ends, and comes as fast as it can."""
    visit.client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not visit.is_over:
        visit.client.sendall(b" " * 65536)


ENDLESS_HEAD = dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")
ENDLESS_BODY = dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ")
