"""Other storages in place of each <filestorage> of the configurations that tests write.

Each Data.fs of a test stands for a storage of its own: a directory beside it, or a database named after its path. A Data.fs
that a test has made by itself, before it starts a server, is copied into it first (zari copy); what tests look for in a
Data.fs afterwards they do not find, but for those who ask as_file().

A kind of storage is a class with what SQLite has here, and a line in KINDS. Database servers are our own, from the programs of
the system, one for all tests of a run.
"""
import contextlib
import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

FILESTORAGE = re.compile(r'<filestorage(\s+[^>/]*?)?\s*(?:/>|>(.*?)</filestorage\s*>)', re.S | re.I)
BLOBSTORAGE = re.compile(r'<blobstorage(\s+[^>]*?)?\s*>\s*(blob-dir\s+\S+)\s*%s\s*</blobstorage\s*>' % FILESTORAGE.pattern, re.S | re.I)

_current = None  # the Storage that this test is to use
_blob_files = False  # blobs are to be files
_made = {}  # the storages that it has, by place: what the Data.fs was like that each was made from


def use(storage, blob_files):
    """Put storages of this sort in the place of files; None: leave the files.

    blob_files says that the clients read blobs from the server's directory: so they must be files, wherever a storage may have
    them.
    """
    global _current, _blob_files
    _current, _blob_files = storage, blob_files


def keeps_history():
    """Tell whether revisions that were overwritten stay."""
    return not _current or _current.history


def in_place(conf):
    """Return conf with another storage for each <filestorage>, having made those that are needed."""
    if not _current:
        return conf
    conf = BLOBSTORAGE.sub('<filestorage\\1>\n\\2\n\\4\n</filestorage>', conf)
    return FILESTORAGE.sub(_section, conf)


def _section(match):
    keys = dict(line.split(None, 1) for line in (match.group(2) or '').splitlines() if len(line.split(None, 1)) == 2)
    keys = {k.lower(): v.strip() for k, v in keys.items()}
    path = keys.get('path', 'Data.fs')
    if keys.get('create', '').lower() in ('true', 'yes', 'on'):
        forget(path)
    _fill(path)
    return _current.kind.section(_current.kind.place(path), match.group(1) or '', keys, _current.history, _blob_files)


def _fill(path):
    """Make the storage that stands for path if it is not there, with what is in a Data.fs that the test has made.

    A test that puts another Data.fs in the place of the one that was served gets the storage anew.
    """
    place, file = _current.kind.place(path), _look(path)
    if _made.get(place, file) != file:
        forget(path)
    if place in _made:
        return
    _current.kind.make(place, _current.history)
    _made[place] = file
    if file:
        _copy(path, _url(place))


def _look(path):
    """Return what tells one Data.fs from another at this path, None if there is nothing in it."""
    if not os.path.exists(path) or os.path.getsize(path) <= 4:
        return None
    stat = os.stat(path)
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def as_file(path):
    """Return the path of a Data.fs with what is in the storage that stands for path; path itself where there is none."""
    if not _current:
        return path
    file = tempfile.mkdtemp() + '/Data.fs'
    _copy(_url(_current.kind.place(path)), file)
    return file


def _url(place):
    return _current.kind.url(place, _current.history)


def _copy(source, destination):
    run([_current.zari, 'copy', source, destination])


def forget(path):
    """Remove the storage that stands for a Data.fs."""
    place = _current and _current.kind.place(path)
    if place in _made:
        del _made[place]
        _current.kind.drop(place)


def forget_all():
    """Remove the storages that a test has left."""
    while _made:
        _current.kind.drop(_made.popitem()[0])


class Storage:
    """A kind of storage, with history or without."""

    def __init__(self, name, kind, zari):
        self.name = name
        self.kind = kind
        self.history = not name.endswith('-free')
        self.zari = zari


class SQLite:
    """A directory beside the Data.fs."""

    exceptions = 'exceptions-sql.txt'  # tests known not to pass
    forms = '', '-free'

    def start(self, zari):
        """Make ready: zari is the program."""

    def stop(self):
        """End what was started."""

    def place(self, path):
        """Return the place of the storage that stands for path: what the functions below are told."""
        return os.path.abspath(path) + '.sqlite'

    def make(self, place, history):
        """Make an empty storage."""

    def drop(self, place):
        """Remove it."""
        shutil.rmtree(place, ignore_errors=True)

    def section(self, place, name, keys, history, blob_files):
        """Return the section of the configuration, in place of a <filestorage name> with these keys."""
        return relstorage(name, keys, history, blob_files, ['<sqlite3>', 'data-dir ' + place, '</sqlite3>'])

    def url(self, place, history):
        """Return how zari copy is told of it."""
        return 'sqlite://%s?keep_history=%d' % (place, history)


def relstorage(name, keys, history, blob_files, database):
    """Return a section <relstorage> with the lines about the database."""
    lines = ['<relstorage%s>' % name, 'keep-history %s' % str(history).lower()]
    lines += ['%s %s' % (k, keys[k]) for k in ('read-only', 'pack-gc') if k in keys]
    if 'blob-dir' in keys:
        lines += ['blob-dir ' + keys['blob-dir'], 'shared-blob-dir %s' % str(blob_files).lower()]
    return '\n'.join([*lines, *database, '</relstorage>'])


class S3Dir(SQLite):
    """A directory in the form of a bucket, beside the Data.fs."""

    exceptions = 'exceptions-s3.txt'
    forms = '',

    def place(self, path):
        return os.path.abspath(path) + '.s3'

    def section(self, place, name, keys, history, blob_files):
        lines = ['<s3storage%s>' % name, 'url s3dir://' + place, 'lease 0s']
        lines += ['%s %s' % (k, keys[k]) for k in ('read-only', 'pack-gc', 'blob-dir') if k in keys]
        return '\n'.join([*lines, '</s3storage>'])

    def url(self, place, history):
        return 's3dir://' + place


class Daemon:
    """A database server, which nobody needs after the run: it syncs nothing, and keeps its data in memory if it may.

    It refuses to be root's, and so it runs as one of users then.
    """

    users = 'nobody',

    def __init__(self):
        self.process = None
        self.dir = tempfile.mkdtemp(prefix='zari-db-', dir=roomy('/dev/shm', 2 << 30))  # a short path: it names a socket
        os.chmod(self.dir, 0o777)
        self.data = os.path.join(self.dir, 'data')
        self.way = {'cwd': self.dir, 'env': {**os.environ, 'TMPDIR': self.dir}}
        if os.geteuid() == 0:
            user = account(self.users)
            self.way.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])

    def run(self, *command):
        """Run a program in the server's directory, as its user."""
        run(command, **self.way)

    def launch(self, command, answers):
        """Start the server, and return when answers() raises no RuntimeError."""
        with open(os.path.join(self.dir, 'log'), 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.way)
        for _ in range(1200):
            if self.process.poll() is not None:
                break
            try:
                return answers()
            except RuntimeError:
                time.sleep(0.05)
        with open(os.path.join(self.dir, 'log'), errors='replace') as log:
            raise SystemExit('%s does not start:\n%s' % (command[0], log.read()[-2000:]))

    def stop(self):
        """End the server, and remove all it had."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        # Root is not allowed to where it heeds permissions, as run.py has it.
        subprocess.run(['rm', '-rf', self.data], check=False, **self.way)
        shutil.rmtree(self.dir, ignore_errors=True)

    def place(self, path):
        return 'zari_' + hashlib.md5(os.path.realpath(path).encode()).hexdigest()


class PostgreSQLServer(Daemon):
    """Our own PostgreSQL."""

    users = 'postgres',

    def serve(self):
        """Start it."""
        bin = directory_of('initdb', '/usr/lib/postgresql/*/bin', 'PostgreSQL', 'postgresql')
        self.psql = [os.path.join(bin, 'psql'), '-h', self.dir, '-U', 'postgres', '-q', '-v', 'ON_ERROR_STOP=1']
        self.run(os.path.join(bin, 'initdb'), '-D', self.data, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--no-locale')
        settings = 'listen_addresses=', 'fsync=off', 'full_page_writes=off', 'max_connections=300', 'shared_buffers=64MB', 'autovacuum=off'
        self.launch([os.path.join(bin, 'postgres'), '-D', self.data, '-k', self.dir, *(word for s in settings for word in ('-c', s))],
                    lambda: self.execute('SELECT 1'))

    def execute(self, statement, database='postgres'):
        self.run(*self.psql, '-c', statement, database)


class PostgreSQL(PostgreSQLServer):
    """A database of it for each Data.fs, copied from one that has the tables."""

    exceptions = SQLite.exceptions
    forms = SQLite.forms

    def start(self, zari):
        self.serve()
        for history in True, False:
            self.execute('CREATE DATABASE ' + self._template(history))
            run([zari, 'copy', 'memory://', self.url(self._template(history), history)])
            self.execute('DROP TABLE zari_meta', self._template(history))  # it says which database it is

    def _template(self, history):
        return 'template_' + ('history' if history else 'free')

    def make(self, place, history):
        self.execute('CREATE DATABASE %s TEMPLATE %s' % (place, self._template(history)))

    def drop(self, place):
        self.execute('DROP DATABASE %s WITH (FORCE)' % place)

    def section(self, place, name, keys, history, blob_files):
        return relstorage(name, keys, history, blob_files,
                          ['<postgresql>', 'dsn host=%s user=postgres dbname=%s' % (self.dir, place), '</postgresql>'])

    def url(self, place, history):
        return 'postgres:///%s?keep_history=%d&host=%s&user=postgres' % (place, history, self.dir)


class S3Front(PostgreSQLServer):
    """A directory in the form of a bucket, whose log is written to PostgreSQL first."""

    exceptions = S3Dir.exceptions
    forms = S3Dir.forms
    place, make, drop = S3Dir.place, S3Dir.make, S3Dir.drop

    def start(self, zari):
        self.serve()

    def section(self, place, name, keys, history, blob_files):
        section = S3Dir.section(self, place, name, keys, history, blob_files)
        return section.replace('</s3storage>', 'log postgres\nlog-dsn host=%s user=postgres\n</s3storage>' % self.dir)

    def url(self, place, history):
        return 's3dir://%s?lease=0s&log=postgres&log-dsn=host%%3D%s+user%%3Dpostgres' % (place, self.dir)


class MySQL(Daemon):
    """A database of our own MariaDB."""

    exceptions = SQLite.exceptions
    forms = SQLite.forms
    users = 'mysql', 'nobody'

    def start(self, zari):
        daemon = os.path.join(directory_of('mariadbd', '/usr/sbin', 'MariaDB', 'mariadb-server'), 'mariadbd')
        self.socket = os.path.join(self.dir, 'socket')
        self.run('mariadb-install-db', '--no-defaults', '--datadir=' + self.data, '--auth-root-authentication-method=normal',
                 '--skip-test-db', '--skip-name-resolve', '--force')
        self.launch([daemon, '--no-defaults', '--datadir=' + self.data, '--socket=' + self.socket, '--skip-networking', '--max-connections=300',
                     '--innodb-flush-log-at-trx-commit=0', '--innodb-doublewrite=0', '--innodb-flush-method=nosync',
                     '--innodb-buffer-pool-size=64M', '--innodb-log-file-size=64M'],
                    lambda: self.execute('SELECT 1'))

    def execute(self, statement):
        self.run('mariadb', '--no-defaults', '--socket=' + self.socket, '-u', 'root', '-e', statement)

    def make(self, place, history):
        self.execute('CREATE DATABASE ' + place)

    def drop(self, place):
        self.execute('DROP DATABASE ' + place)

    def section(self, place, name, keys, history, blob_files):
        return relstorage(name, keys, history, blob_files,
                          ['<mysql>', 'db ' + place, 'user root', 'unix_socket ' + self.socket, '</mysql>'])

    def url(self, place, history):
        return 'mysql://root@localhost/%s?keep_history=%d&unix_socket=%s' % (place, history, self.socket)


KINDS = {'sqlite': SQLite, 'postgresql': PostgreSQL, 'mysql': MySQL, 's3dir': S3Dir, 's3front': S3Front}

NAMES = [kind + form for kind in KINDS for form in KINDS[kind].forms]


@contextlib.contextmanager
def started(names, zari):
    """Have the storages of these names while a block runs, which is given them."""
    with contextlib.ExitStack() as stack:
        kinds = {}
        for word in dict.fromkeys(name.partition('-')[0] for name in names):
            kinds[word] = KINDS[word]()
            stack.callback(kinds[word].stop)
            kinds[word].start(zari)
        yield [Storage(name, kinds[name.partition('-')[0]], zari) for name in names]


def run(command, **how):
    """Run a program that must not fail."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **how)
    if done.returncode:
        raise RuntimeError('%s:\n%s' % (' '.join(command), done.stderr or done.stdout))


def roomy(path, enough):
    """Return the directory path if so many bytes are free there, else None."""
    if not os.access(path, os.W_OK):
        return None
    return path if shutil.disk_usage(path).free > enough else None


def account(users):
    """Return the account of the first of these users that there is."""
    for name in users:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise SystemExit('the database server does not run as root, and there is no user %s' % ' or '.join(users))


def directory_of(program, pattern, product, package):
    """Return the directory of a program that Debian puts where a PATH need not lead."""
    for place in [*sorted(glob.glob(pattern), reverse=True), os.path.dirname(shutil.which(program) or '')]:
        if os.path.exists(os.path.join(place, program)):
            return place
    raise SystemExit('%s is not installed (Debian: apt install %s)' % (product, package))
