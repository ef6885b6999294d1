"""Processes that cut crops, or none; they end with the process that started them, however that ends."""

import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread

from leveret.corpora.cutting import CropShape, Cut, Example, cut_all

_LOOK_AGAIN_SECONDS = 1.0


class WorkerError(OSError):
    """A worker process ended before its work."""


class Workers:
    """Some processes, started when they are first wanted; with none, the work is done where it is asked for.

    Attributes:
        num: Processes.
    """

    def __init__(self, num: int) -> None:
        self.num = num
        # a process that holds torch's threads cannot be forked, and one with a GPU must not be
        self._pool = ProcessPoolExecutor(num, get_context("forkserver"), initializer=_start_worker) if num else None

    def submit(self, examples: Sequence[Example], shape: CropShape) -> Future[list[Cut]]:
        """Begin some examples.

        Raises:
            WorkerError: A worker died.
        """
        if self._pool is None:
            return _Later(examples, shape)
        try:
            return self._pool.submit(cut_all, examples, shape)
        except BrokenProcessPool as error:
            raise self._died() from error

    def result(self, job: Future[list[Cut]]) -> list[Cut]:
        """What was cut.

        Raises:
            WorkerError: A worker died.
        """
        while True:
            try:
                return job.result(_LOOK_AGAIN_SECONDS)
            except BrokenProcessPool as error:
                raise self._died() from error
            except TimeoutError:
                if job.done():  # just now, or the error is its own
                    return job.result()
                if self._one_is_gone():
                    self._break_off()
                    raise self._died() from None

    def close(self) -> None:
        """End them; what they were at is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _one_is_gone(self) -> bool:
        processes = getattr(self._pool, "_processes", None) or {}
        return any(process.exitcode is not None for process in processes.values())

    def _break_off(self) -> None:
        """End a pool that waits for the rest of a result which a killed worker had begun to send.

        The pool sees the end of that pipe only when nobody can write to it any more, and it holds a writer itself.
        """
        pool, self._pool = self._pool, None
        assert pool is not None, "only a pool has lost a worker"
        for process in (pool._processes or {}).values():
            process.kill()
        pool._result_queue._writer.close()  # type: ignore[attr-defined]
        pool.shutdown(wait=True, cancel_futures=True)

    def _died(self) -> WorkerError:
        return WorkerError(
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


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the one that trains says what becomes of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed process cannot end its workers, which would wait for work for ever."""
    parent = parent_process()
    assert parent is not None, "a worker is started by another process"
    parent.join()
    os._exit(1)
