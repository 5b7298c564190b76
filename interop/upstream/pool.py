"""Runs tests in processes of their own, several at a time.

The parent has imported everything and forks a child for each test: a clean interpreter state for a few milliseconds, its own
working directory, its own range of ports, its own process group. A test past its time is killed with all it started, after
it has printed where its threads stand.
"""
import faulthandler
import gc
import json
import logging
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unittest

import external
import storages

PORTS = 1000  # ports for each child that runs at the same time
FIRST_PORT, LAST_PORT = 10000, 20000  # below what the kernel gives to outgoing connections


class Task:
    """A test to be run, and what its files become: a storages.Storage, or None."""

    def __init__(self, test, storage):
        self.test = test
        self.storage = storage


class Result:
    """How a task ended: outcome is 'passed', 'failed', 'skipped' or 'timeout'; detail says why; seconds it took."""

    def __init__(self, task, outcome, detail, seconds):
        self.task = task
        self.name = task.test.name
        self.outcome = outcome
        self.detail = detail
        self.seconds = seconds


def run(tasks, jobs, limit):
    """Run tasks, jobs at a time, each for at most limit seconds, and yield a Result for each as it ends."""
    gc.collect()
    gc.freeze()
    base = random.SystemRandom().randrange(FIRST_PORT, LAST_PORT - jobs * PORTS, PORTS)
    waiting, children = list(reversed(tasks)), {}
    slots = list(range(jobs))
    try:
        while waiting or children:
            while waiting and slots:
                slot = slots.pop(0)
                child = Child(waiting.pop(), slot, base + slot * PORTS, limit)
                children[child.pipe] = child
            for child in _ended(children):
                del children[child.pipe]
                slots.append(child.slot)
                yield child.result()
    finally:
        for child in children.values():
            child.destroy()


def _ended(children):
    soonest = min(child.deadline for child in children.values())
    readable, _, _ = select.select(list(children), [], [], max(0, soonest - time.monotonic()))
    ended = [children[pipe] for pipe in readable if children[pipe].read()]
    now = time.monotonic()
    return ended + [child for child in children.values() if child not in ended and child.deadline < now]


class Child:
    """A forked process that runs one task."""

    def __init__(self, task, slot, first_port, limit):
        self.task = task
        self.slot = slot
        self.started = time.monotonic()
        self.deadline = self.started + limit
        self.limit = limit
        self.dir = tempfile.mkdtemp(prefix='zari-upstream-')
        self.said = b''
        self.pipe, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            _child(task, self.dir, write, first_port)
        os.close(write)

    def read(self):
        """Take what the child wrote; true at its end."""
        piece = os.read(self.pipe, 1 << 16)
        self.said += piece
        return not piece

    def result(self):
        """Return the Result, having removed all traces of the child."""
        seconds = time.monotonic() - self.started
        late = time.monotonic() > self.deadline and not self.said
        if late:
            self._ask_where_it_stands()
        output = self._output()
        self.destroy()
        if late:
            return Result(self.task, 'timeout', 'still running after %d s\n%s' % (self.limit, output), seconds)
        if not self.said:
            return Result(self.task, 'failed', 'the test process died\n' + output, seconds)
        outcome, detail = json.loads(self.said)
        return Result(self.task, outcome, detail + '\n' + output, seconds)

    def _ask_where_it_stands(self):
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.3)  # for faulthandler to print; the test has failed in any case

    def _output(self):
        parts = []
        for name in sorted(os.listdir(self.dir)):
            if name.endswith('.out'):
                with open(os.path.join(self.dir, name), errors='replace') as f:
                    parts.append('--- %s\n%s' % (name, f.read()[-3000:]))
        return '\n'.join(parts)

    def destroy(self):
        """Kill the child and everything it started, and remove its directory."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.pipe)
        shutil.rmtree(self.dir, ignore_errors=True)


def _child(task, scratch, pipe, first_port):
    """Run a task and end the process: in the child only."""
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out = os.open(os.path.join(scratch, 'test.out'), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        _log_warnings(out)
        os.mkdir(os.path.join(scratch, 'work'))
        os.chdir(os.path.join(scratch, 'work'))
        tempfile.tempdir = os.getcwd()
        # Neighbouring tests must not meet the last one's ports: sockets linger after a close.
        start = random.Random(task.test.name).randrange(PORTS // 2)
        external.use(scratch, iter(range(first_port + start, first_port + PORTS)))
        storages.use(task.storage, task.test.shares_blobs())
        said = _run(task.test)
    except BaseException:
        said = 'failed', traceback.format_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(pipe, json.dumps((said[0], said[1][-8000:])).encode())
    os._exit(0)


def _log_warnings(out):
    """Write warnings of the client's code to the file out, beside the test's own output.

    It is more than help with failures: a record has no attribute "message" before a handler has formatted it, and
    client-config.test reads that of records which it would rather ignore.
    """
    handler = logging.StreamHandler(os.fdopen(os.dup(out), 'w'))
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter('%(asctime)s %(name)s %(levelname)s %(message)s'))
    logging.getLogger().addHandler(handler)


def _run(test):
    result = unittest.TestResult()
    if test.layer is not None:
        test.layer.setUp()
        test.layer.testSetUp()
    try:
        test.case.run(result)
    finally:
        external.stop_all()
        storages.forget_all()
    for _, text in result.errors + result.failures:
        return 'failed', text
    if external.unclean:
        return 'failed', '; '.join(external.unclean)
    for _, reason in result.skipped:
        return 'skipped', reason
    return 'passed', ''
