"""The stream of an extraction: processes read slides, threads embed batches, and nothing waits that could work.

    reader process -> pipe -> reader thread -> queue of batches -> network threads -> features of a slide -> its file

The queue is short and a pipe holds a batch: whoever is ahead waits, so memory does not grow with the number of slides.
On a CPU every network thread computes a batch of its own on one core: no core waits for another at the end of a layer,
and results do not depend on how many there are. A batch holds tiles of one slide in a fixed order: neither do they
depend on who reads, or on what else is read.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...datasets.encoders.encoder import Encoder
from ...datasets.slides.files import SlideFile
from ...datasets.slides.reader import ReadOptions, SlidePlan, SlideReader, running
from ...errors import DataError

WAIT = 0.2  # seconds after which a waiting thread looks whether all is over


@dataclass(frozen=True)
class Embedded:
    """One finished slide: features float16 (n, dim) and level-0 coordinates int32 (n, 2) by magnification, its plan,
    and how long it took from its first byte to its last batch.
    """

    file: SlideFile
    plan: SlidePlan
    features: dict[int, np.ndarray]
    coords: dict[int, np.ndarray]
    seconds: float


@dataclass(frozen=True)
class Task:
    """One slide to read: its file, microns per pixel as the user gives them (see `slides.mpp`), its preview's path."""

    file: SlideFile
    user_mpp: float | None = None
    for_this_slide: bool = True
    preview: Path | None = None


@dataclass
class _Slide:
    """A slide on its way: how many tiles are still out."""

    task: Task
    plan: SlidePlan
    order: np.ndarray
    features: dict[int, np.ndarray]
    start: float
    left: int
    failed: bool = False


@dataclass
class _Stream:
    """What the threads share."""

    tasks: deque[Task]
    options: ReadOptions
    encoder: Encoder | None
    needed: Callable[[Task], bool]
    done: Callable[[Embedded], None]
    bad: Callable[[Task, str], None]
    batches: queue.Queue = field(default_factory=lambda: queue.Queue(4))
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    readers: list[SlideReader] = field(default_factory=list)
    error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """End everything: this is no fault of a slide."""
        with self.lock:
            self.error = self.error or error
        self.end()

    def end(self) -> None:
        """Let every thread come to its end; one that waits for a reader hears that it is dead."""
        self.over.set()
        for reader in self.readers:
            reader.worker.kill()


def embed_slides(
    tasks: list[Task],
    options: ReadOptions,
    encoder: Encoder | None,
    readers: int,
    networks: int,
    needed: Callable[[Task], bool],
    done: Callable[[Embedded], None],
    bad: Callable[[Task, str], None],
) -> None:
    """Read and embed the slides that are `needed`; one of `done` and `bad` is called for each, from any thread.

    Without an encoder only plans are made, and previews drawn. A slide that cannot be read, or that `needed` or `done`
    refuse with DataError, is `bad`; any other error ends the stream and is raised here.
    """
    stream = _Stream(deque(tasks), options, encoder, needed, done, bad, queue.Queue(networks + 2))
    reading = [threading.Thread(target=_read, args=(stream,), name=f"reader {i}") for i in range(readers)]
    embedding = [threading.Thread(target=_embed, args=(stream,), name=f"network {i}") for i in range(networks)]
    with _single_threaded(encoder):
        try:
            for thread in (*embedding, *reading):
                thread.start()
            _wait(reading)
            for _ in embedding:
                _put(stream, None)
            _wait(embedding)
        except BaseException:
            stream.end()
            raise
        finally:
            for thread in (*reading, *embedding):
                thread.join() if thread.ident else None
    if stream.error is not None:
        raise stream.error


def _wait(threads: list[threading.Thread]) -> None:
    """Join in turns that Ctrl-C can interrupt."""
    for thread in threads:
        while thread.is_alive():
            thread.join(WAIT)


@contextmanager
def _single_threaded(encoder: Encoder | None) -> Iterator[None]:
    """On a CPU, one core for each network thread; as it was before afterwards."""
    if encoder is None or encoder.device != "cpu":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(stream: _Stream) -> None:
    with running() as reader:
        stream.readers.append(reader)
        while not stream.over.is_set():
            try:
                task = stream.tasks.popleft()
            except IndexError:
                return
            try:
                if stream.needed(task):
                    _read_slide(stream, reader, task)
            except DataError as error:
                _report(stream, stream.bad, task, str(error))
            except BaseException as error:
                stream.fail(error)


def _read_slide(stream: _Stream, reader: SlideReader, task: Task) -> None:
    start = time.monotonic()
    encoder = stream.encoder
    plan, order, batches = reader.read(
        task.file.path, stream.options, task.user_mpp, task.for_this_slide, task.preview, encoder is not None
    )
    dim = encoder.backbone.dim if encoder else 0
    features = {m: np.empty((n, dim), np.float16) for m, n in plan.tiles.items()}
    slide = _Slide(task, plan, order, features, start, len(order))
    at = 0
    try:
        for batch in batches:
            if stream.over.is_set():
                return
            _put(stream, (slide, order[at : at + len(batch)], batch))
            at += len(batch)
    except BaseException:
        slide.failed = True
        raise
    if not len(order):
        _finish(stream, slide)


def _put(stream: _Stream, item: object) -> None:
    while not stream.over.is_set():
        try:
            return stream.batches.put(item, timeout=WAIT)
        except queue.Full:
            continue
    return None


def _embed(stream: _Stream) -> None:
    while not stream.over.is_set():
        try:
            item = stream.batches.get(timeout=WAIT)
        except queue.Empty:
            continue
        if item is None:
            return
        slide, rows, batch = item
        if slide.failed:
            continue
        try:
            found = stream.encoder.features(batch)  # type: ignore[union-attr]
            for m in np.unique(rows[:, 0]):
                own = rows[:, 0] == m
                slide.features[int(m)][rows[own, 1]] = found[own]
            with stream.lock:
                slide.left -= len(rows)
                last = not slide.left
            if last:
                _finish(stream, slide)
        except BaseException as error:
            stream.fail(error)


def _finish(stream: _Stream, slide: _Slide) -> None:
    coords = {}
    for m, n in slide.plan.tiles.items():
        own = slide.order[slide.order[:, 0] == m]
        coords[m] = np.empty((n, 2), np.int32)
        coords[m][own[:, 1]] = own[:, 2:]
    seconds = time.monotonic() - slide.start
    finished = Embedded(slide.task.file, slide.plan, slide.features, coords, seconds)
    try:
        _report(stream, stream.done, finished)
    except DataError as error:
        _report(stream, stream.bad, slide.task, str(error))


def _report(stream: _Stream, to: Callable[..., None], *words: object) -> None:
    if not stream.over.is_set():
        to(*words)
