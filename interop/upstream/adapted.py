"""Tests of our own in place of upstream ones that reach into Python's server: raw frames, and processes that end.

They speak to the server under test as any client might, over a bare socket, and hold for Python's own server too unless a
comment says otherwise.
"""
import json
import os
import pickle
import signal
import socket
import struct
import time
import unittest

import transaction
import ZEO
import ZODB.utils
from ZODB.FileStorage import FileStorage

import external
import storages

z64 = b'\0' * 8
REPLY_LIMIT = 10  # seconds to wait for any frame
CODEC = b'M5' if os.environ.get('ZEO_MSGPACK') else b'Z5'
OTHER = b'Z5' if CODEC == b'M5' else b'M5'
FILE = '<filestorage>\n  path Data.fs\n</filestorage>'


class Wire:
    """A client of a few lines: frames out, frames in, nothing else."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, REPLY_LIMIT)
        self.codec = None
        self.last = 0

    def close(self):
        self.sock.close()

    def read(self):
        """Return the next frame, None at the end of the stream."""
        head = self._exactly(4)
        return head and self._exactly(struct.unpack('>I', head)[0])

    def _exactly(self, n):
        got = b''
        while len(got) < n:
            try:
                piece = self.sock.recv(n - len(got))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            got += piece
        return got

    def write(self, body):
        self.sock.sendall(struct.pack('>I', len(body)) + body)

    def greet(self, answer=CODEC):
        """Take the greeting, answer it and return it; from then on messages are in the codec of the answer."""
        greeting = self.read()
        self.write(answer)
        self.codec = answer[:1]
        return greeting

    def register(self):
        self.greet()
        self.call('register', '1', False)
        return self

    def encode(self, message):
        if self.codec == b'M':
            import msgpack
            return msgpack.packb(message, use_bin_type=True)
        return pickle.dumps(message, 3)

    def decode(self, body):
        if self.codec == b'M':
            import msgpack
            return msgpack.unpackb(body, raw=False, use_list=False)
        return pickle.loads(body)

    def send(self, method, *args):
        """Send a call and return its message id."""
        self.last += 1
        self.write(self.encode((self.last, False, method, args)))
        return self.last

    def oneway(self, method, *args):
        self.write(self.encode((0, True, method, args)))

    def answer(self, msgid):
        """Return (result, None) or (None, name of the error class) of the reply to msgid; callbacks are passed over."""
        while True:
            body = self.read()
            if body is None:
                raise ConnectionError('the server closed the connection')
            got, flag, name, result = self.decode(body)
            if name == '.reply' and got == msgid:
                return (None, result[0]) if flag == 2 else (result, None)

    def call(self, method, *args):
        result, error = self.answer(self.send(method, *args))
        if error:
            raise RuntimeError('%s: %s' % (method, error))
        return result

    def begin(self, tid, oid=z64, serial=z64, data=b'x'):
        """Begin transaction tid (a number) with one store in it."""
        self.oneway('tpc_begin', tid, b'', b'', {}, None, ' ')
        self.oneway('storea', oid, serial, data, tid)


class Adapted(unittest.TestCase):

    def serve(self, conf=FILE, port=0, log=None):
        """Start a server that keeps its files."""
        server = external.Server(external.zeo_section(None, port, log) + conf, keep=True)
        server.start()
        return server

    def connect(self, server):
        wire = Wire(server.address)
        self.addCleanup(wire.close)
        return wire

    def test_bad_version_is_closed(self):
        server = self.serve()
        for answer in b'Z4', b'Z6', b'M4':
            wire = self.connect(server)
            wire.greet(answer)
            self.assertIsNone(wire.read(), answer)
        self.assertEqual(self.connect(server).register().call('lastTransaction'), z64)

    def test_codec_is_the_clients_choice(self):
        server = self.serve()
        for answer in CODEC, OTHER:
            wire = self.connect(server)
            self.assertEqual(wire.greet(answer), CODEC)
            self.assertEqual(wire.call('register', '1', False), z64)
            self.assertEqual(wire.call('get_info')['supportsUndo'], storages.keeps_history())

    def test_msgid_is_echoed_verbatim(self):
        wire = self.connect(self.serve()).register()
        for msgid in 7, 1 << 40, 'seven', b'seven', (z64, b'\x7f' + b'\xff' * 7), -7:
            wire.write(wire.encode((msgid, False, 'lastTransaction', ())))
            got, _, name, result = wire.decode(wire.read())
            self.assertEqual((got, type(got), name, result), (msgid, type(msgid), '.reply', z64))

    def test_ruok_before_greeting(self):
        wire = self.connect(self.serve())
        wire.write(b'ruok')
        self.assertEqual(wire.read(), CODEC)
        status = json.loads(wire.read().decode('ascii'))
        self.assertEqual(list(status), ['1'])
        self.assertEqual(status['1']['connections'], 0)
        self.assertIsNone(wire.read())

    def test_vote_twice(self):
        wire = self.connect(self.serve()).register()
        wire.begin(1)
        self.assertEqual(wire.call('vote', 1), wire.decode(wire.encode(())) if wire.codec == b'M' else [])
        _, error = wire.answer(wire.send('vote', 1))
        self.assertEqual(error, 'ZODB.POSException.StorageTransactionError')
        wire.call('tpc_abort', 1)

    def test_disconnect_frees_the_lock(self):
        server = self.serve()
        holder, waiter = self.connect(server).register(), self.connect(server).register()
        holder.begin(1)
        holder.call('vote', 1)
        waiter.begin(2)
        vote = waiter.send('vote', 2)
        waiter.call('ping')  # the vote waits, the connection does not
        holder.close()
        self.assertEqual(list(waiter.answer(vote)[0]), [])
        tid = waiter.call('tpc_finish', 2)
        self.assertEqual(waiter.call('loadBefore', z64, ZODB.utils.maxtid), (b'x', tid, None))

    def test_sigterm_is_clean(self):
        server = self.serve()
        wire = self.connect(server).register()
        wire.begin(1)
        wire.call('vote', 1)
        tid = wire.call('tpc_finish', 1)
        server.stop()  # complains in external.unclean, and so fails the test, if it takes too long or ends badly
        self.assertIsNone(self._rest(wire))
        self.assertEqual(self._tids('Data.fs'), [tid])

    def _rest(self, wire):
        """Read to the end of the stream."""
        body = wire.read()
        while body is not None:
            body = wire.read()
        return body

    def _tids(self, path):
        """Open a file with Python's FileStorage, which needs its lock, and return the tids in it."""
        storage = FileStorage(storages.as_file(path))
        tids = [txn.tid for txn in storage.iterator()]
        storage.close()
        return tids

    def test_kill9_keeps_finished_commits(self):
        server = self.serve()
        wire = self.connect(server).register()
        serial, done = z64, []
        for number in range(1, 21):
            wire.begin(number, serial=serial, data=b'state %d' % number)
            wire.call('vote', number)
            serial = wire.call('tpc_finish', number)
            done.append(serial)
        wire.begin(21, serial=serial, data=b'never finished')
        wire.call('vote', 21)
        server.kill()

        again = self.serve(port=server.address[1])
        wire = self.connect(again).register()
        self.assertEqual(wire.call('loadBefore', z64, ZODB.utils.maxtid), (b'state 20', serial, None))
        again.stop()
        self.assertEqual(self._tids('Data.fs'), done if storages.keeps_history() else done[-1:])

    def test_logrotate_on_sigusr2(self):
        server = self.serve('<mappingstorage>\n</mappingstorage>', log='server.log')
        self._commit(server, 1)
        os.rename('server.log', 'old.log')
        server.process.send_signal(signal.SIGUSR2)
        self._until(lambda: os.path.exists('server.log'))
        # The server may still write to the old file what it began before the signal: wait until it has said that it is done.
        self._until(lambda: os.path.getsize('server.log') > 0)
        before = os.path.getsize('old.log'), os.path.getsize('server.log')
        self._commit(server, 2)
        self._until(lambda: os.path.getsize('server.log') > before[1])
        self.assertEqual(os.path.getsize('old.log'), before[0])

    def _commit(self, server, value):
        connection = ZEO.connection(server.address)
        connection.root()['x'] = value
        transaction.commit()
        connection.close()

    def _until(self, true):
        deadline = time.monotonic() + REPLY_LIMIT
        while not true():
            self.assertLess(time.monotonic(), deadline, 'waited in vain')
            time.sleep(0.01)
