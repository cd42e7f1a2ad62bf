"""Simulating processes have one thread each; the process that started them keeps its own number."""

import os

from unihand_data.record.workers import THREADS, one_thread_each


def test_children_have_one_thread_and_the_parent_is_as_it_was(monkeypatch):
    monkeypatch.delenv(THREADS, raising=False)
    with one_thread_each(1) as pool:
        assert pool.submit(os.getenv, THREADS).result() == "1"
    assert THREADS not in os.environ


def test_a_number_that_the_user_gave_is_kept(monkeypatch):
    monkeypatch.setenv(THREADS, "3")
    with one_thread_each(1) as pool:
        assert pool.submit(os.getenv, THREADS).result() == "3"
    assert os.environ[THREADS] == "3"
