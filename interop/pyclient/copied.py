"""Compares two Data.fs with blobs as Python's FileStorage reads them: copied.py [--extension-bytes-differ] FOLDER COPY.

Every transaction, every record, every blob, the undo logs, and the current state of every object. Over ZEO go the contents of
extensions, and not the bytes: the option is for copies that came from a server.
"""
import filecmp
import itertools
import os
import sys

from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError

import client


def storage(folder):
    return FileStorage(os.path.join(folder, 'Data.fs'), blob_dir=os.path.join(folder, 'blobs'), read_only=True)


def same(what, one, two):
    assert one == two, '%s differ: %r in the source, %r in the copy' % (what, one, two)


def asked(f, *args):
    try:
        return f(*args)
    except POSKeyError:
        return 'POSKeyError'


def blob(s, record):
    path = asked(s.loadBlob, record.oid, record.tid)
    return None if path == 'POSKeyError' else path


fields = ['status', 'user', 'description', 'extension', 'extension_bytes']
if sys.argv[1] == '--extension-bytes-differ':
    del sys.argv[1]
    fields.remove('extension_bytes')
source, copy = storage(sys.argv[1]), storage(sys.argv[2])
same('last transactions', source.lastTransaction(), copy.lastTransaction())
transactions = records = blobs = 0
oids = set()
for one, two in itertools.zip_longest(source.iterator(), copy.iterator()):
    same('transactions', one and one.tid, two and two.tid)
    transactions += 1
    for field in fields:
        same('%s of %r' % (field, one.tid), getattr(one, field), getattr(two, field))
    for a, b in itertools.zip_longest(one, two):
        same('objects of %r' % one.tid, a and a.oid, b and b.oid)
        same('records of %r' % a.oid, (a.tid, a.data, a.data_txn), (b.tid, b.data, b.data_txn))
        records += 1
        oids.add(a.oid)
        first, second = blob(source, a), blob(copy, b)
        same('is there a blob of %r' % a.oid, first is None, second is None)
        if first is not None:
            blobs += 1
            assert filecmp.cmp(first, second, shallow=False), 'blobs of %r at %r differ' % (a.oid, a.tid)
for oid in oids:
    same('current state of %r' % oid, asked(source.load, oid, ''), asked(copy.load, oid, ''))
logs = [s.undoLog(0, sys.maxsize) for s in (source, copy)]
if 'extension_bytes' not in fields:
    for entry in logs[0] + logs[1]:
        del entry['size']
same('undo logs', *logs)
client.say(transactions=transactions, records=records, blobs=blobs)
source.close()
copy.close()
