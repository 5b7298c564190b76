"""A <relstorage> in place of each <filestorage> of the configurations that tests write.

use('sqlite', history, zari) or use('postgresql', ...) says in what: each Data.fs of a test stands for a database of its own, a
directory beside it or a PostgreSQL database named after its path. A Data.fs that a test has made by itself, before it starts
a server, is copied into the database first (zari copy); what tests look for in a Data.fs afterwards they do not find.

PostgreSQL is a server of our own, Postgres(), from the programs of the system.
"""
import glob
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

KINDS = 'sqlite', 'postgresql'

_settings = {}
_made = []  # names of the PostgreSQL databases of this test


def use(kind, history, zari, dsn=None):
    """Put databases in the place of files. zari is the program that copies; dsn leads to a PostgreSQL server."""
    _settings.update(kind=kind, history=history, zari=zari, dsn=dsn)


def in_sql(conf):
    """Return conf with a <relstorage> for each <filestorage>, having made the databases that are needed."""
    if not _settings:
        return conf
    return re.sub(r'<filestorage(\s+[^>/]*?)?\s*(?:/>|>(.*?)</filestorage\s*>)', _relstorage, conf, flags=re.S | re.I)


def _relstorage(match):
    keys = dict(line.split(None, 1) for line in (match.group(2) or '').splitlines() if len(line.split(None, 1)) == 2)
    keys = {k.lower(): v.strip() for k, v in keys.items()}
    path = keys.get('path', 'Data.fs')
    if _true(keys.get('create')):
        forget(path)
    _fill(path)
    lines = ['<relstorage%s>' % (match.group(1) or ''), '  keep-history %s' % str(_settings['history']).lower()]
    lines += ['  %s %s' % (k, keys[k]) for k in ('read-only', 'pack-gc') if k in keys]
    if 'blob-dir' in keys:
        lines += ['  blob-dir %s' % keys['blob-dir'], '  shared-blob-dir true']
    if _settings['kind'] == 'sqlite':
        lines += ['  <sqlite3>', '    data-dir ' + _directory(path), '  </sqlite3>']
    else:
        lines += ['  <postgresql>', '    dsn %s dbname=%s' % (_settings['dsn'], _database(path)), '  </postgresql>']
    return '\n'.join(lines + ['</relstorage>'])


def _true(value):
    return (value or '').lower() in ('true', 'yes', 'on')


def _directory(path):
    return path + '.sqlite'


def _database(path):
    return 'zari_' + hashlib.md5(os.path.realpath(path).encode()).hexdigest()


def _url(path):
    history = 'keep_history=%d' % _settings['history']
    if _settings['kind'] == 'sqlite':
        return 'sqlite://%s?%s' % (os.path.abspath(_directory(path)), history)
    words = dict(word.split('=') for word in _settings['dsn'].split())
    return 'postgres:///%s?%s&%s' % (_database(path), history, '&'.join('%s=%s' % pair for pair in words.items()))


def _fill(path):
    """Make the database if it is not there, with what is in a Data.fs that the test has made."""
    if _settings['kind'] == 'sqlite':
        new = not os.path.isdir(_directory(path))
    else:
        new = _database(path) not in _made
        if new:
            _execute('CREATE DATABASE ' + _database(path))
            _made.append(_database(path))
    if new and os.path.exists(path) and os.path.getsize(path) > 4:
        _copy(path, _url(path))


def as_file(path):
    """Return the path of a Data.fs with what is in the database that stands for path; path itself where there is none."""
    if not _settings:
        return path
    copy = tempfile.mkdtemp() + '/Data.fs'
    _copy(_url(path), copy)
    return copy


def _copy(source, destination):
    copied = subprocess.run([_settings['zari'], 'copy', source, destination], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if copied.returncode:
        raise RuntimeError('copying %s to %s:\n%s' % (source, destination, copied.stderr))


def forget(path):
    """Remove the database that stands for a Data.fs."""
    if not _settings:
        return
    if _settings['kind'] == 'sqlite':
        shutil.rmtree(_directory(path), ignore_errors=True)
    elif _database(path) in _made:
        _execute('DROP DATABASE %s WITH (FORCE)' % _database(path))
        _made.remove(_database(path))


def forget_all():
    """Remove the databases that a test has left. Directories go with the test's own."""
    for name in list(_made):
        _execute('DROP DATABASE %s WITH (FORCE)' % name)
        _made.remove(name)


def _execute(statement):
    import psycopg2
    connection = psycopg2.connect(_settings['dsn'] + ' dbname=postgres')
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()


class Postgres:
    """A PostgreSQL server for one run, which nobody needs afterwards: it syncs nothing."""

    def __init__(self):
        programs = sorted(glob.glob('/usr/lib/postgresql/*/bin')) + [os.path.dirname(shutil.which('initdb') or '')]
        self.bin = next((p for p in programs if os.path.exists(os.path.join(p, 'initdb'))), None)
        if not self.bin:
            raise SystemExit('PostgreSQL is not installed (Debian: apt install postgresql)')
        self.dir = tempfile.mkdtemp(prefix='zari-pg-')
        self.user = 'postgres' if os.geteuid() == 0 else None  # it refuses to be root's
        os.chmod(self.dir, 0o777)
        self.process = None

    def start(self):
        """Start it, and return a DSN that lacks the name of a database."""
        data = os.path.join(self.dir, 'data')
        subprocess.run([os.path.join(self.bin, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--no-locale'],
                       check=True, stdout=subprocess.DEVNULL, user=self.user, cwd=self.dir)
        settings = ['listen_addresses=', 'fsync=off', 'full_page_writes=off', 'max_connections=300', 'shared_buffers=64MB']
        command = [os.path.join(self.bin, 'postgres'), '-D', data, '-k', self.dir]
        for s in settings:
            command += ['-c', s]
        with open(os.path.join(self.dir, 'log'), 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self.user, cwd=self.dir)
        for _ in range(600):
            if os.path.exists(os.path.join(self.dir, '.s.PGSQL.5432')):
                return 'host=%s user=postgres' % self.dir
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        with open(os.path.join(self.dir, 'log'), errors='replace') as log:
            raise SystemExit('PostgreSQL does not start:\n' + log.read()[-2000:])

    def stop(self):
        """End it, and remove all it had."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        # Root is not allowed to where it heeds permissions, as run.py has it.
        subprocess.run(['rm', '-rf', os.path.join(self.dir, 'data')], user=self.user, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
