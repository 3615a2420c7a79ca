"""Room for so many requests of an event loop at a time; further ones wait their turn."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """A semaphore whose waiting has an end, and which loses neither places nor cancellations.

    `wait_for` around the one of asyncio loses both on Python 3.10 and 3.11.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._turns: deque[asyncio.Future[bool]] = deque()

    async def entered(self, seconds: float) -> bool:
        """Take a place, or return false if there is none in time."""
        if self._free:
            self._free -= 1
            return True
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._turns.append(turn)
        late = loop.call_later(seconds, _pass_by, turn)
        try:
            return bool(await turn)
        except asyncio.CancelledError:
            # The place was given just before.
            if not turn.cancelled() and turn.result():
                self.leave()
            raise
        finally:
            late.cancel()

    def leave(self) -> None:
        """Give the place to the next one that still waits."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self._free += 1


def _pass_by(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
