"""Steps run at a time, each a batch for every replica, and what comes out keeps the order."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from pool3.streams import begun, in_streams


def network(run, replicas: int = 1):
    """What `in_streams` takes, of a function of one batch's images."""
    return SimpleNamespace(replicas=replicas, run=lambda images: [run(one) for one in images])


def batches(count: int):
    return (SimpleNamespace(images=number) for number in range(count))


def test_streams_keep_the_order_and_run_at_once() -> None:
    active, most, lock = 0, 0, threading.Lock()

    def run(number: int) -> np.ndarray:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.02 if number % 2 == 0 else 0.001)
        with lock:
            active -= 1
        return np.array([number])

    found = [(batch.images, int(features[0])) for batch, features in in_streams(network(run), batches(20), 2)]
    assert found == [(number, number) for number in range(20)]
    assert most == 2


def test_streams_take_no_more_than_they_need() -> None:
    taken = []

    def counted():
        for batch in batches(100):
            taken.append(batch.images)
            yield batch

    stream = in_streams(network(lambda number: np.array([number])), counted(), 2)
    next(stream)
    assert len(taken) == 3
    stream.close()
    assert len(taken) == 3


def test_an_error_in_a_stream_comes_out_in_its_place() -> None:
    def run(number: int) -> np.ndarray:
        if number == 3:
            raise ValueError("three")
        return np.array([number])

    stream = in_streams(network(run), batches(10), 2)
    assert [int(next(stream)[1][0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(stream)


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_replicas_take_a_batch_each_and_the_last_step_what_is_left(count) -> None:
    steps = []

    def run(images) -> list[np.ndarray]:
        steps.append(len(images))
        return [np.array([number]) for number in images]

    found = list(in_streams(SimpleNamespace(replicas=4, run=run), batches(count), 2))
    assert [(batch.images, int(features[0])) for batch, features in found] == [(n, n) for n in range(count)]
    assert sorted(steps, reverse=True) == [4] * (count // 4) + [count % 4] * (count % 4 > 0)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_begun_gives_every_item_once_and_in_order(count) -> None:
    with begun(iter(range(count))) as items:
        assert list(items) == list(range(count))


def test_the_first_item_is_made_meanwhile_and_no_other() -> None:
    made = threading.Event()
    count = 0

    def items():
        nonlocal count
        for item in "ab":
            count += 1
            made.set()
            yield item

    with begun(items()) as begun_items:
        assert made.wait(10)
        assert count == 1
        assert list(begun_items) == ["a", "b"]


def test_an_error_of_the_first_item_comes_out_where_it_is_taken() -> None:
    def items():
        raise ValueError("no first")
        yield

    with begun(items()) as begun_items, pytest.raises(ValueError, match="no first"):
        next(begun_items)
