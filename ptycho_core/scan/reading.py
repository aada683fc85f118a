"""Reading ahead: threads read what comes next while something else is computed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ptycho_core.contract import Value

__all__ = ["READER_NAME", "Readers"]

READER_NAME = "ptycho-reader"
"""What the name of a thread that reads begins with; its number follows."""

R = TypeVar("R")
T = TypeVar("T")


class Readers:
    """How a job reads: the threads that it may use, and what they did so far.

    Args:
        workers: threads that read; with 0 everything is read where it is wanted.
        ahead: how many readings may be under way or wait to be taken, at least 1.
        pinned: whether what is read goes to the device through pinned memory; it is for the backend to see to that.
    """

    def __init__(self, workers: int = 0, ahead: int = 1, *, pinned: bool = False) -> None:
        self.workers, self.ahead, self.pinned = workers, ahead, pinned
        self._readers = self._most_ahead = 0

    @classmethod
    def planned(cls, execution: Mapping[str, Value]) -> Readers:
        """As the *execution* settings of a plan say."""
        workers, ahead = int(execution.get("num_workers") or 0), int(execution.get("prefetch") or 1)
        return cls(workers, ahead, pinned=bool(execution.get("pin_memory")))

    def facts(self) -> dict[str, Value]:
        """For the record of a run: how many threads read, and the most readings that were ahead of their use."""
        return {"readers": self._readers, "read_ahead": self._most_ahead}

    def read(self, read: Callable[[R], T], requests: Sequence[R]) -> Generator[T, None, None]:
        """What ``read`` gives for each request, in their order, whichever thread is first.

        Threads begin with the first value that is taken. They have ended when the last value was taken, when an error of
        ``read`` has come out in its place, and when the generator is closed, which a caller that may leave early must see to.
        """
        if not self.workers:
            yield from map(read, requests)
            return
        queue = _Queue(read, requests, self.ahead)
        try:
            queue.start(min(self.workers, self.ahead, len(requests)))
            for number in range(len(requests)):
                yield queue.take(number)
        finally:
            queue.close()
            self._readers = max(self._readers, len(queue.threads))
            self._most_ahead = max(self._most_ahead, queue.most_ahead)


class _Queue(Generic[R, T]):
    """Readings by number: begun by threads in turn, taken in order by one that waits for each."""

    def __init__(self, read: Callable[[R], T], requests: Sequence[R], ahead: int) -> None:
        self._read, self._requests, self._ahead = read, requests, ahead
        self._changed = threading.Condition()
        self._found: dict[int, tuple[T | None, BaseException | None]] = {}
        self._begun = self._taken = 0
        self._closed = False
        self.threads: list[threading.Thread] = []
        self.most_ahead = 0

    def start(self, workers: int) -> None:
        for number in range(workers):
            # A daemon: a process that ends in between must not wait for a file.
            thread = threading.Thread(target=self._work, args=(number, workers), name=f"{READER_NAME}-{number}", daemon=True)
            thread.start()
            self.threads.append(thread)

    def take(self, number: int) -> T:
        with self._changed:
            self._changed.wait_for(lambda: number in self._found)
            found, error = self._found.pop(number)
            self._taken = number + 1
            self._changed.notify_all()
        if error is not None:
            raise error
        return found  # type: ignore[return-value]  # there is one where there is no error

    def close(self) -> None:
        """End the threads: what is being read is finished and dropped."""
        with self._changed:
            self._closed = True
            self._found.clear()
            self._changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _work(self, first: int, step: int) -> None:
        """Read every ``step``-th request: who reads what does not depend on who is quick."""
        for number in range(first, len(self._requests), step):
            with self._changed:
                while not self._closed and number >= self._taken + self._ahead:
                    self._changed.wait()
                if self._closed:
                    return
                self._begun += 1
                self.most_ahead = max(self.most_ahead, self._begun - self._taken)
            found, error = self._tried(self._requests[number])
            with self._changed:
                self._found[number] = found, error
                self._changed.notify_all()
            if error is not None:
                return

    def _tried(self, request: R) -> tuple[T | None, BaseException | None]:
        try:
            return self._read(request), None
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the thread that waits
            return None, error
