"""Runs ZEO's and ZODB's own tests against a server process, and says how many passed.

    python interop/upstream/run.py --server 'bin/zari serve -C {conf}'
    python interop/upstream/run.py --server runzeo --exceptions interop/upstream/exceptions-runzeo.txt
    python interop/upstream/run.py --storage sqlite --storage postgresql-free
    python interop/upstream/run.py --codec M --only 'testZEO.FileStorageTests.*'

Every test of a list must pass, with each codec. A test that fails is run again, alone; one that passes then is counted as
passed and named as flaky. Exceptions are tests known not to pass, with a reason; one that passes is an error, so that the
list stays true. The last line reads "upstream: N passed, N failed".
"""
import argparse
import contextlib
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
import sql

STORAGES = [kind + form for kind in sql.KINDS for form in ('', '-free')]
CODECS = {'Z': 'pickle', 'M': 'msgpack'}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--server', default='bin/zari serve -C {conf}',
                   help='the command that serves a configuration file {conf}; "runzeo" is Python\'s own server')
    p.add_argument('--codec', choices=['Z', 'M', 'ZM'], default='ZM', help='pickle, msgpack, or one after the other')
    p.add_argument('--storage', action='append', choices=STORAGES,
                   help='put databases of this kind in the place of files, -free without history; may be given again')
    p.add_argument('--jobs', type=int, default=3, help='tests at a time')
    p.add_argument('--limit', type=int, default=240, help='seconds for a test')
    p.add_argument('--list', action='append', help='file of test names (default: tests.txt and loaddelayed.txt); may be given again')
    p.add_argument('--exceptions', action='append', help='file of tests known not to pass (default: exceptions.txt and, with --storage, '
                   'exceptions-sql.txt); may be given again')
    p.add_argument('--only', action='append', default=[], help='shell pattern of test names; may be given again')
    p.add_argument('--no-retry', action='store_true', help='do not run failed tests again')
    p.add_argument('--summary', help='file to which the last lines are added')
    p.add_argument('--catalogue', action='store_true', help='print the name of every installed test and stop')
    return p.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))  # an orderly end: no test and no server stays behind
    args = arguments()
    if not args.catalogue and (len(args.codec) > 1 or len(args.storage or []) > 1):
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

    with tempfile.TemporaryDirectory(prefix='zari-upstream-') as scratch, storage(args) as kind:
        external.install(server_command(args.server), codec == 'M', scratch, iter(()), insist=args.server == 'runzeo')
        tests = catalogue.load()
        if args.catalogue:
            print('\n'.join(sorted(tests)))
            return 0
        names = wanted(args, catalogue)
        found = {name: catalogue.find(tests, name) for name in names}
        report = Report(codec, kind, known(args, catalogue), len(names))
        report.missing = [name for name in names if found[name] is None]
        present = [test for test in found.values() if test]
        for result in pool.run(present, args.jobs, args.limit):
            report.add(result)
        again = [] if args.no_retry else [t for t in present if t.name in report.failed and not report.reason(t.name)]
        for result in pool.run(again, 1, args.limit):
            report.retried(result)
    return report.finish()


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


@contextlib.contextmanager
def storage(args):
    """Have tests use what --storage says while the block runs, which is told the name of it."""
    if not args.storage:
        yield 'file'
        return
    name = args.storage[0]
    kind, _, free = name.partition('-')
    zari = server_command(args.server)[0]
    if kind != 'postgresql':
        sql.use(kind, not free, zari)
        yield name
        return
    server = sql.Postgres()
    try:
        sql.use(kind, not free, zari, server.start())
        yield name
    finally:
        server.stop()


def known(args, catalogue):
    """Return the exceptions that hold."""
    paths = args.exceptions or [os.path.join(HERE, n) for n in ['exceptions.txt'] + ['exceptions-sql.txt'] * bool(args.storage)]
    return [row for path in paths for row in catalogue.read_exceptions(path)]


def each(args):
    """Run this program once for each storage and codec and add up."""
    statuses, counts = [], []
    runs = [(kind, codec) for kind in args.storage or [None] for codec in args.codec]
    for kind, codec in runs:
        argv = [sys.executable, '-u', os.path.abspath(__file__), *without_storage(sys.argv[1:]), '--codec', codec]
        argv += ['--storage', kind] if kind else []
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as p:
            try:
                for line in p.stdout:
                    print(line, end='', flush=True)
            except SystemExit:
                p.terminate()
                raise
        statuses.append(p.returncode)
        words = line.replace(',', '').split()
        counts.append((int(words[1]), int(words[3])) if line.startswith('upstream: ') else (0, 1))
    total = 'upstream: %d passed, %d failed' % tuple(map(sum, zip(*counts)))
    if args.storage:
        total += ' (%s)' % ', '.join(args.storage)
    print(total)
    if args.summary:
        with open(args.summary, 'a') as f:
            print(total, file=f)
    return max(statuses)


def without_storage(argv):
    """Return argv without its options --storage."""
    kept, skip = [], False
    for word in argv:
        if not skip and word != '--storage' and not word.startswith('--storage='):
            kept.append(word)
        skip = word == '--storage'
    return kept


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
    """Counts, and prints what went wrong as it goes."""

    def __init__(self, codec, storage, exceptions, total):
        self.codec = codec
        self.storage = storage
        self.exceptions = exceptions
        self.total = total
        self.started = time.monotonic()
        self.passed, self.failed, self.flaky, self.missing = set(), {}, [], []

    def reason(self, name):
        """Return why name is expected to fail, or ''."""
        for pattern, where, reason in self.exceptions:
            if where in ('*', self.codec, self.storage, self.storage.partition('-')[2]) and pattern.fullmatch(name):
                return reason
        return ''

    def add(self, result):
        if result.outcome == 'passed':
            self.passed.add(result.name)
        else:
            self.failed[result.name] = result
        done = len(self.passed) + len(self.failed)
        if result.outcome != 'passed' and not self.reason(result.name):
            why = brief(result.detail)
            print('%s %s (%s): %s' % (result.outcome.upper(), result.name, CODECS[self.codec], why), flush=True)
        if done % 50 == 0:
            print('... %d of %d, %d s' % (done, self.total, time.monotonic() - self.started), flush=True)

    def retried(self, result):
        if result.outcome == 'passed':
            self.flaky.append(self.failed.pop(result.name))
            self.passed.add(result.name)

    def finish(self):
        """Print the summary and return the exit status."""
        expected = [name for name in [*self.failed, *self.missing] if self.reason(name)]
        surprises = sorted(name for name in self.passed if self.reason(name))
        failures = sorted(name for name in self.failed if not self.reason(name))
        missing = sorted(name for name in self.missing if not self.reason(name))
        for name in failures:
            self._print('FAILED', self.failed[name])
        for result in self.flaky:
            self._print('FLAKY: failed, then passed:', result)
        for name in missing:
            print('MISSING: listed, but not in the installed packages: ' + name)
        for name in surprises:
            print('SURPRISE: passed, but listed as an exception: %s: %s' % (name, self.reason(name)))
        bad = len(failures) + len(missing) + len(surprises)
        print('%s, codec %s: %d listed, %d passed, %d failed, %d missing, %d passed against expectation, %d known exceptions, '
              '%d flaky; %d s' % (self.storage, CODECS[self.codec], self.total, len(self.passed), len(failures), len(missing),
                                  len(surprises), len(expected), len(self.flaky), time.monotonic() - self.started))
        print('upstream: %d passed, %d failed' % (len(self.passed) - len(surprises), bad), flush=True)
        return 1 if bad else 0

    def _print(self, word, result):
        lines = ('%s, %d s\n%s' % (result.outcome, result.seconds, result.detail)).strip().splitlines()
        print('=' * 100 + '\n%s %s (%s)' % (word, result.name, CODECS[self.codec]))
        print('\n'.join('    ' + line for line in lines[-60:]), flush=True)


if __name__ == '__main__':
    sys.exit(main())
