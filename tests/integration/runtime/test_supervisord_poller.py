"""supervisord's poller does not spin on what it forgot to forget."""

import logging
import os
from types import SimpleNamespace

import pytest

from homeport.runtime.supervisord import Poller


@pytest.fixture
def poller():
    poller = Poller(SimpleNamespace(logger=logging.getLogger("test")))
    yield poller
    poller.close()


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)


def test_a_pipe_without_a_reader_that_nobody_writes_to_is_forgotten(poller, pipe):
    reading, writing = pipe
    poller.register_readable(writing)  # the number was a socket's before
    os.close(reading)
    assert poller.poll(1) == ([], [])
    assert poller._poll_fds(0) == []
    assert writing not in poller.readables


def test_who_writes_to_a_pipe_without_a_reader_learns_of_it(poller, pipe):
    reading, writing = pipe
    poller.register_writable(writing)
    os.close(reading)
    assert poller.poll(1) == ([], [writing])


def test_what_can_be_read_is_told(poller, pipe):
    reading, writing = pipe
    poller.register_readable(reading)
    os.write(writing, b"x")
    assert poller.poll(1) == ([reading], [])
    os.close(reading)
