"""Compares a served storage with its file as Python's FileStorage reads it, object by object: compare.py ADDRESS FILE [zlib].

The file is opened read-only beside the server, which must be idle meanwhile; with zlib as it is to be read through
zc.zlibstorage.
"""
import itertools
import sys

from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import maxtid, p64, u64

import client

served, direct = client.storage(sys.argv[1]), FileStorage(sys.argv[2], read_only=True)
if 'zlib' in sys.argv[3:]:
    from zc.zlibstorage import ZlibStorage
    direct = ZlibStorage(direct)


def same(what, one, two):
    assert one == two, '%s differ: served %r, in the file %r' % (what, one, two)


def asked(f, *args):
    try:
        return f(*args)
    except POSKeyError:
        return 'POSKeyError'


def transactions():
    """Compare the two histories side by side. Over ZEO, the records of a transaction must be read before the next one."""
    oids = set()
    count = 0
    for one, two in itertools.zip_longest(served.iterator(), direct.iterator()):
        same('transactions', one and one.tid, two and two.tid)
        count += 1
        for field in 'status', 'user', 'description', 'extension':
            same('%s of %r' % (field, one.tid), getattr(one, field), getattr(two, field))
        records = [(r.oid, r.tid, r.data, r.data_txn) for r in one]
        same('records of %r' % one.tid, records, [(r.oid, r.tid, r.data, r.data_txn) for r in two])
        oids.update(oid for oid, _, _, _ in records)
    return count, oids


def revisions(oid):
    """Walk an object from its newest revision to its oldest."""
    before = maxtid
    count = 0
    while True:
        state = asked(served.loadBefore, oid, before)
        same('state of %r before %r' % (oid, before), state, asked(direct.loadBefore, oid, before))
        if state is None or state == 'POSKeyError':
            return count
        count += 1
        before = state[1]


same('last transaction', served.lastTransaction(), direct.lastTransaction())
count, oids = transactions()
total = 0
for oid in sorted(oids):
    total += revisions(oid)
    same('history of %r' % oid, [h['tid'] for h in asked(served.history, oid, 99)],
         [h['tid'] for h in asked(direct.history, oid, 99)])
same('undo log', [e['id'] for e in served.undoLog(0, 99)], [e['id'] for e in direct.undoLog(0, 99)])
same('an unknown object', asked(served.loadBefore, p64(u64(max(oids)) + 1000), maxtid), 'POSKeyError')
client.say(transactions=count, objects=len(oids), revisions=total)
served.close()
direct.close()
