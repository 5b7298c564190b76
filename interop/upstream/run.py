"""Runs ZEO's and ZODB's own tests against a server process, and says how many passed.

    python interop/upstream/run.py --server 'bin/zari serve -C {conf}'
    python interop/upstream/run.py --server runzeo --exceptions interop/upstream/exceptions-runzeo.txt
    python interop/upstream/run.py --storage sqlite --storage postgresql-free
    python interop/upstream/run.py --codec M --only 'testZEO.FileStorageTests.*'

Every test of a list must pass, with each codec and on each storage. A test that fails is run again, alone; one that passes then
is counted as passed and named as flaky. Exceptions are tests known not to pass, with a reason; one that passes is an error, and
so is one that no test is meant by, so that the list stays true. The last line reads "upstream: N passed, N failed".
"""
import argparse
import ctypes
import fnmatch
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import warnings

sys.dont_write_bytecode = True  # the tree stays as it is
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import storages

CODECS = {'Z': 'pickle', 'M': 'msgpack'}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--server', default='bin/zari serve -C {conf}',
                   help='the command that serves a configuration file {conf}; "runzeo" is Python\'s own server')
    p.add_argument('--codec', choices=['Z', 'M', 'ZM'], default='ZM', help='pickle, msgpack, or one after the other')
    p.add_argument('--storage', action='append', choices=storages.NAMES, default=[],
                   help='put storages of this kind in the place of files, -free without history; may be given again')
    p.add_argument('--jobs', type=int, default=3, help='tests at a time')
    p.add_argument('--limit', type=int, default=240, help='seconds for a test')
    p.add_argument('--list', action='append', help='file of test names (default: tests.txt and loaddelayed.txt); may be given again')
    p.add_argument('--exceptions', action='append', help='file of tests known not to pass (default: exceptions.txt and that of the '
                   'storage); may be given again')
    p.add_argument('--only', action='append', default=[], help='shell pattern of test names; may be given again')
    p.add_argument('--no-retry', action='store_true', help='do not run failed tests again')
    p.add_argument('--summary', help='file to which the last lines are added')
    p.add_argument('--catalogue', action='store_true', help='print the name of every installed test and stop')
    return p.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))  # an orderly end: no test and no server stays behind
    args = arguments()
    if not args.catalogue and len(args.codec) > 1:
        return each(args)
    codec = args.codec[0]
    # Read by test modules while they are imported, which is why a codec needs a process of its own.
    os.environ.pop('ZEO_MSGPACK', None)
    if codec == 'M':
        os.environ['ZEO_MSGPACK'] = '1'
    heed_permissions()
    warnings.simplefilter('ignore')
    import catalogue
    import external
    import pool

    command = server_command(args.server)
    with tempfile.TemporaryDirectory(prefix='zari-upstream-') as scratch, storages.started(args.storage, command[0]) as places:
        external.install(command, codec == 'M', scratch, iter(()), insist=args.server == 'runzeo')
        tests = catalogue.load()
        if args.catalogue:
            print('\n'.join(sorted(tests)))
            return 0
        found = {name: catalogue.find(tests, name) for name in wanted(args, catalogue)}
        reports = {place: Report(codec, place, known(args, catalogue, place), found) for place in places or [None]}
        tasks = [pool.Task(test, place) for place in reports for test in found.values() if test]
        for result in pool.run(tasks, args.jobs, args.limit):
            reports[result.task.storage].add(result)
        again = [task for task in tasks if reports[task.storage].is_surprise(task.test.name)]
        for result in pool.run([] if args.no_retry else again, 1, args.limit):
            reports[result.task.storage].retried(result)
    counts = [report.finish(whole=not args.list and not args.only) for report in reports.values()]
    return total(args, counts)


def heed_permissions():
    """As root, start over without the right to write what is read-only: some tests see to it that blobs are.

    The new program and all its children have no such right, because it is taken from what a program may get at all.
    """
    if os.geteuid() != 0 or os.environ.get('ZARI_UPSTREAM_HEEDS'):
        return
    os.environ['ZARI_UPSTREAM_HEEDS'] = '1'
    drop_from_bounding_set = 24  # prctl(2)
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in 1, 2:  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(drop_from_bounding_set, capability, 0, 0, 0):
            print('running as root with all its rights: tests of permissions will fail', flush=True)
            return
    os.execv(sys.executable, [sys.executable, '-u', *sys.argv])


def known(args, catalogue, storage):
    """Return the exceptions that hold."""
    paths = args.exceptions or [os.path.join(HERE, n) for n in ['exceptions.txt'] + ([storage.kind.exceptions] if storage else [])]
    return [row for path in paths for row in catalogue.read_exceptions(path)]


def each(args):
    """Run this program once for each codec and add up."""
    counts = []
    for codec in args.codec:
        argv = [sys.executable, '-u', os.path.abspath(__file__), *sys.argv[1:], '--codec', codec, '--summary', os.devnull]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as p:
            try:
                for line in p.stdout:
                    print(line, end='', flush=True)
            except SystemExit:
                p.terminate()
                raise
        words = line.replace(',', '').split()
        counts.append((int(words[1]), int(words[3])) if line.startswith('upstream: ') else (0, 1))
    return total(args, counts)


def total(args, counts):
    """Print the last line for these pairs (passed, failed), and return the exit status."""
    passed, failed = map(sum, zip(*counts))
    line = 'upstream: %d passed, %d failed' % (passed, failed)
    if args.storage:
        line += ' (%s)' % ', '.join(args.storage)
    print(line, flush=True)
    if args.summary:
        with open(args.summary, 'a') as f:
            print(line, file=f)
    return 1 if failed else 0


def server_command(text):
    """Return the words of the server command with absolute paths: tests change their directory."""
    if text == 'runzeo':
        return [sys.executable, '-m', 'ZEO.runzeo', '-C', '{conf}']
    words = shlex.split(text)
    if '/' in words[0] and not os.access(words[0], os.X_OK):
        sys.exit('%s is not there to be run: build it first (make build)' % words[0])
    return [os.path.abspath(w) if '/' in w and os.path.exists(w) else w for w in words]


def wanted(args, catalogue):
    """Return the names to run, in order, each once."""
    names = []
    for path in args.list or [os.path.join(HERE, name) for name in ('tests.txt', 'loaddelayed.txt')]:
        names += catalogue.read_list(path)
    if args.only:
        names = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in args.only)]
    return list(dict.fromkeys(names))


def brief(detail):
    """Return the line of a failure that says most: the last of the traceback, before what the server printed."""
    lines = [line.strip() for line in detail.split('--- ')[0].splitlines() if line.strip()]
    return lines[-1][:200] if lines else ''


class Report:
    """Counts what happens on one storage, and prints what goes wrong as it goes."""

    def __init__(self, codec, storage, exceptions, found):
        self.name = storage.name if storage else 'file'
        self.title = '%s, %s' % (self.name, CODECS[codec])
        self.total = len(found)
        self.missing = [name for name, test in found.items() if not test]
        places = '*', codec, self.name, 'free' if storage and not storage.history else self.name
        self.exceptions = [row for row in exceptions if row[1] in places]
        self.passed, self.failed, self.flaky = set(), {}, []
        self.began, self.ended = float('inf'), 0

    def reason(self, name):
        """Return why name is expected to fail, or ''."""
        return next((reason for pattern, _, reason in self.exceptions if pattern.fullmatch(name)), '')

    def is_surprise(self, name):
        """Tell whether name has failed, and no exception says so."""
        return name in self.failed and not self.reason(name)

    def add(self, result):
        now = time.monotonic()
        self.began, self.ended = min(self.began, now - result.seconds), now
        if result.outcome == 'passed':
            self.passed.add(result.name)
        else:
            self.failed[result.name] = result
        if self.is_surprise(result.name):
            print('%s %s (%s): %s' % (result.outcome.upper(), result.name, self.title, brief(result.detail)), flush=True)
        done = len(self.passed) + len(self.failed)
        if done % 50 == 0:
            print('... %s: %d of %d, %d s' % (self.title, done, self.total, now - self.began), flush=True)

    def retried(self, result):
        if result.outcome == 'passed':
            self.flaky.append(self.failed.pop(result.name))
            self.passed.add(result.name)

    def finish(self, whole):
        """Print the summary and return how many passed and failed. whole: all exceptions must have been met."""
        names = [*self.passed, *self.failed, *self.missing]
        expected = [name for name in [*self.failed, *self.missing] if self.reason(name)]
        surprises = sorted(name for name in self.passed if self.reason(name))
        failures = sorted(filter(self.is_surprise, self.failed))
        missing = sorted(name for name in self.missing if not self.reason(name))
        stale = [row for row in self.exceptions if whole and not any(map(row[0].fullmatch, names))]
        for name in failures:
            self._print('FAILED', self.failed[name])
        for result in self.flaky:
            self._print('FLAKY: failed, then passed:', result)
        for name in missing:
            print('MISSING: listed, but not in the installed packages: ' + name)
        for name in surprises:
            print('SURPRISE (%s): passed, but listed as an exception: %s: %s' % (self.title, name, self.reason(name)))
        for pattern, _, reason in stale:
            print('STALE (%s): no test is meant by the exception %s: %s' % (self.title, pattern.pattern, reason))
        bad = len(failures) + len(missing) + len(surprises) + len(stale)
        print('%s: %d listed, %d passed, %d failed, %d missing, %d passed against expectation, %d known exceptions, %d flaky; %d s' % (
            self.title, self.total, len(self.passed), len(failures), len(missing), len(surprises), len(expected), len(self.flaky),
            max(0, self.ended - self.began)), flush=True)
        return len(self.passed) - len(surprises), bad

    def _print(self, word, result):
        lines = ('%s, %d s\n%s' % (result.outcome, result.seconds, result.detail)).strip().splitlines()
        print('=' * 100 + '\n%s %s (%s)' % (word, result.name, self.title))
        print('\n'.join('    ' + line for line in lines[-60:]), flush=True)


if __name__ == '__main__':
    sys.exit(main())
