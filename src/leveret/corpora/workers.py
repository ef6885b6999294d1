"""Processes that cut crops, or none; they end with the process that started them, however that ends.

Each worker has a pipe of its own, and a thread here that waits at it. A worker that is killed, even in the middle of
what it says, and a process that trains and is killed, are then both the end of a pipe. The pool of the standard library
shares one pipe between its workers, and waits for ever for the rest of what a killed one had begun to say.
"""

import signal
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread

from leveret.corpora.cutting import CropShape, Cut, Example, cut_all

Job = tuple[Future[list[Cut]], Sequence[Example], CropShape]


class WorkerError(OSError):
    """A worker process ended before its work."""


class Workers:
    """Some processes, started when they are first wanted; with none, the work is done where its result is asked for.

    Attributes:
        num: Processes.
        pids: Their ids, once they are started.
    """

    def __init__(self, num: int) -> None:
        if num < 0:
            raise ValueError(f"workers={num}; expected 0 or more")
        self.num = num
        self.pids: list[int] = []
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def submit(self, examples: Sequence[Example], shape: CropShape) -> Future[list[Cut]]:
        """Begin some examples; the result raises WorkerError where a worker died."""
        if not self.num:
            return _Later(examples, shape)
        if not self._threads:
            self._start()
        job: Future[list[Cut]] = Future()
        self._jobs.put((job, examples, shape))
        return job

    def close(self) -> None:
        """End them; what they have not begun is dropped."""
        while not self._jobs.empty():
            self._jobs.get()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _start(self) -> None:
        # a process that holds torch's threads cannot be forked, and one with a GPU must not be
        context = get_context("forkserver")
        for _ in range(self.num):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            there.close()  # or its end would never be seen
            self.pids.append(process.pid or 0)
            self._threads.append(Thread(target=self._wait_at, args=(here, process), daemon=True))
            self._threads[-1].start()

    def _wait_at(self, pipe: Connection, process: BaseProcess) -> None:
        """Hand jobs to one worker until there are no more; once it is dead, tell so of each job that comes here."""
        with pipe:
            while (job := self._jobs.get()) is not None:
                result, examples, shape = job
                try:
                    pipe.send((examples, shape))
                    result.set_result(pipe.recv())
                except (EOFError, OSError):
                    result.set_exception(WorkerError(self._advice()))
        process.join()

    def _advice(self) -> str:
        return (
            f"one of {self.num} processes that read audio was ended from outside, perhaps for want of memory, or could "
            "not start (a script that trains needs `if __name__ == '__main__':`); take fewer workers, or 0 to read in "
            "the process that trains, and start again: the run goes on from its last checkpoint"
        )


class _Later(Future[list[Cut]]):
    """Work that is done when its result is wanted."""

    def __init__(self, examples: Sequence[Example], shape: CropShape) -> None:
        super().__init__()
        self.examples, self.shape = examples, shape

    def result(self, timeout: float | None = None) -> list[Cut]:
        return cut_all(self.examples, self.shape)


def _serve(pipe: Connection) -> None:
    """Cut what comes, until the other end is closed or its process gone."""
    # Ctrl-C reaches every process of the terminal; the one that trains says what becomes of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        while True:
            examples, shape = pipe.recv()
            pipe.send(cut_all(examples, shape))
