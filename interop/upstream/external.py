"""An external server process wherever ZEO's tests start one of their own.

ZEO's test suites ask ZEO._forker.start_zeo_server for a server: a storage configuration, a <zeo> section, and back come the
address and a function that stops it. install() puts a function with the same promises in its place which runs a command
instead: the server under test, reading the same configuration from a file.

What differs from a server inside the test process, and how it is met:

* The tests like port 0. An external server cannot hand its port back, so a free one is chosen before it starts, from a
  range that only this test uses (ports()).
* Stopping is SIGTERM and a wait. A server that must be killed, that ends with a status other than 0 or that is gone before
  it is stopped did not stop cleanly; unclean collects such sentences, and the runner fails the test for them.
* Storage files vanish with the server unless the test asked to keep them, as ZODB's storage.cleanup() does it.
"""
import glob
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import storages

START_LIMIT = 30  # seconds from start to a listening socket
STOP_LIMIT = 15  # seconds from SIGTERM to the end of the process

unclean = []  # one sentence for each server that did not stop as it should
running = []  # servers not stopped yet

_settings = {}


def install(command, msgpack, scratch, ports, insist=False):
    """Make ZEO's tests start command.

    command is a list of words; {conf} in it stands for the configuration file. msgpack adds "msgpack true" to sections that
    do not decide. Configurations and the servers' output go to the directory scratch, which must not be the tests' own.
    ports is an iterator of TCP ports to try. insist sends SIGTERM again and again: Python's server raises SystemExit wherever
    the signal meets it, and an event loop that swallows it goes on serving.
    """
    _settings.update(command=command, msgpack=msgpack, scratch=scratch, ports=ports, insist=insist)
    # ZEO.tests.forker binds these names when it is imported, and other modules bind them from there: they come after this.
    import ZEO._forker
    ZEO._forker.start_zeo_server = start_zeo_server
    from ZEO.tests import forker
    forker.start_zeo_server = start_zeo_server
    forker.get_port = lambda ignored=None: free_port()


def use(scratch, ports):
    """Change where output goes and which ports are tried: each test has its own."""
    _settings.update(scratch=scratch, ports=ports)


def free_port():
    """Return a port nobody is bound to whose successor is free too: some tests use the next one as well."""
    for port in _settings['ports']:
        if _bindable(port) and _bindable(port + 1):
            return port
    raise RuntimeError('no free port left in the range of this test')


def _bindable(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def start_zeo_server(storage_conf=None, zeo_conf=None, port=None, keep=False, path='Data.fs', protocol=None, blob_dir=None,
                     suicide=True, debug=False, threaded=False, start_timeout=START_LIMIT, name=None, log=None,
                     show_config=False):
    """Start a server and return its address and a function that stops it: what ZEO._forker.start_zeo_server promises.

    suicide, debug, threaded and name concern a server inside the test process and mean nothing here; protocol would have to
    change the code of the server and is refused.
    """
    if protocol:
        raise RuntimeError('the protocol version of an external server cannot be changed')
    conf = zeo_section(zeo_conf, port, log) + '\n\n' + storage_section(storage_conf, path, blob_dir)
    if show_config:
        print(conf)
    server = Server(conf, keep)
    server.start(start_timeout)
    return server.address, server.stop


def storage_section(storage_conf, path, blob_dir):
    """Return the storage part of a configuration: what is given, else a file storage at path, with blobs if asked for."""
    storage_conf = storage_conf or '<filestorage>\n  path %s\n</filestorage>' % path
    if not blob_dir:
        return storage_conf
    return '<blobstorage>\n  blob-dir %s\n%s\n</blobstorage>' % (blob_dir, storage_conf)


def zeo_section(zeo_conf, port, log):
    """Return the <zeo> part of a configuration: zeo_conf as it is, or made of a dict of options and a port or a path."""
    if zeo_conf is not None and not isinstance(zeo_conf, dict):
        return str(zeo_conf)
    from ZEO._forker import ZEOConfig
    address = ('127.0.0.1', port or 0) if port is None or isinstance(port, int) else port
    config = ZEOConfig(address, log=log)
    vars(config).update(zeo_conf or {})
    return str(config)


class Server:
    """One run of the server command with one configuration."""

    def __init__(self, conf, keep=False):
        self.conf = conf
        self.keep = keep
        self.process = None
        self.address = None
        self.output = None

    def start(self, limit=START_LIMIT):
        """Start the process and wait for its socket; with port 0, try a second and a third port if one is taken."""
        fixed = parse_address(address_of(self.conf))
        if not isinstance(fixed, tuple) or fixed[1]:
            return self._start(fixed, limit)
        for last in False, False, True:
            try:
                return self._start((fixed[0], free_port()), limit)
            except RuntimeError:
                if last or 'in use' not in self.said():
                    raise

    def _start(self, address, limit):
        fd, conf = tempfile.mkstemp('.conf', 'zeo-', _settings['scratch'])
        with os.fdopen(fd, 'w') as f:
            f.write(storages.in_place(finished_conf(self.conf, address, _settings['msgpack'])))
        self.output = conf[:-5] + '.out'
        command = [word.replace('{conf}', conf) for word in _settings['command']]
        with open(self.output, 'wb') as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.address = address
        self._await_socket(limit)
        running.append(self)

    def _await_socket(self, limit):
        deadline = time.monotonic() + limit
        while not listening(self.address):
            if self.process.poll() is not None:
                raise RuntimeError('the server ended at its start with status %s:\n%s'
                                   % (self.process.returncode, self.said()))
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise RuntimeError('the server does not listen on %r after %s s:\n%s' % (self.address, limit, self.said()))
            time.sleep(0.01)

    def stop(self, stop_timeout=None):
        """End the process as an operator would, and remove its files unless they are to be kept. Stopping twice is fine."""
        if self not in running:
            return
        running.remove(self)
        if self.process.poll() is not None:
            unclean.append('the server was gone before it was stopped, status %s' % self.process.returncode)
        else:
            self._terminate()
        if not self.keep:
            self.cleanup()

    def _terminate(self):
        self.process.send_signal(signal.SIGTERM)
        if not self._ended(STOP_LIMIT):
            self.process.kill()
            self.process.wait()
            unclean.append('the server did not end %s s after SIGTERM and was killed' % STOP_LIMIT)
        elif self.process.returncode not in self._good():
            unclean.append('the server ended with status %s after SIGTERM' % self.process.returncode)

    def _good(self):
        # A repeated signal may meet Python while it winds up, when its handlers are gone.
        return (0, -signal.SIGTERM) if _settings['insist'] else (0,)

    def _ended(self, limit):
        """Wait for the end of the process; false if it still runs after limit seconds."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            try:
                self.process.wait(2 if _settings['insist'] else limit)
                return True
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)
        return False

    def kill(self):
        """Kill the process without warning: what comes after is up to the files it leaves."""
        running.remove(self)
        self.process.kill()
        self.process.wait()

    def cleanup(self):
        """Remove the files of every file storage in the configuration."""
        for section in re.findall(r'<filestorage.*?</filestorage>', self.conf, re.S | re.I):
            for path in re.findall(r'^\s*path\s+(\S+)', section, re.M):
                storages.forget(path)
                for name in [path, *glob.glob(glob.escape(path) + '.*')]:
                    if os.path.isfile(name):
                        os.remove(name)

    def said(self):
        """Return the end of what the process printed."""
        if not self.output:
            return ''
        with open(self.output, errors='replace') as f:
            return f.read()[-4000:]


def stop_all():
    """Stop what a test left running."""
    for server in list(running):
        server.stop()


def address_of(conf):
    """Return the address of the <zeo> section as it is written there."""
    return re.search(r'^[ \t]*address[ \t]+(.*?)[ \t]*$', conf, re.M).group(1)


def parse_address(text):
    """Return (host, port) or the path of a Unix socket, as ZConfig reads a socket-binding-address."""
    if '/' in text:
        return text
    host, _, port = text.rpartition(':')
    return host or '127.0.0.1', int(port or 0)


def finished_conf(conf, address, msgpack):
    """Return conf with the chosen port in place of 0, and msgpack switched on if it is wanted and not decided."""
    if isinstance(address, tuple):
        conf = re.sub(r'^([ \t]*address[ \t]+\S*:)[ \t]*0?[ \t]*$', r'\g<1>%d' % address[1], conf, count=1, flags=re.M)
    if msgpack and not re.search(r'^\s*msgpack\s', conf, re.M):
        conf = conf.replace('<zeo>', '<zeo>\n  msgpack true', 1)
    return conf


def listening(address):
    """Tell whether somebody listens on address, without connecting: the tests count connections and read logs."""
    if isinstance(address, str):
        return _listening_unix(address)
    port = ':%04X' % address[1]
    return any(row[1].endswith(port) and row[3] == '0A' for row in _rows('/proc/net/tcp') + _rows('/proc/net/tcp6'))


def _listening_unix(path):
    accepting = 1 << 16  # __SO_ACCEPTCON
    return any(len(row) > 7 and os.path.basename(row[7]) == os.path.basename(path) and int(row[3], 16) & accepting
               for row in _rows('/proc/net/unix')) and os.path.exists(path)


def _rows(table):
    try:
        with open(table) as f:
            return [line.split() for line in f][1:]
    except FileNotFoundError:
        return []
