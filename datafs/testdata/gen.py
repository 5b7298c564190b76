"""Makes the files that the tests read. Run it in this folder, with ZODB installed.

small.fs        every kind of record, and a transaction that was packed
small.fs.index  its index
small.json      what is in small.fs, as Python reads it
wide.index      an index with several buckets, short and long
unfinished.fs   small.fs with a transaction that was voted and not finished
"""
import base64
import json
import os
import shutil
import sys

from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.fsIndex import fsIndex
from ZODB.utils import p64, z64

START = 0x03E0000000000000


def tid(n):
    return p64(START + (n << 32))


class At:
    """Stands in for TimeStamp, to pack at a tid."""

    def __init__(self, *args):
        pass

    def raw(self):
        return tid(3)


def commit(s, n, work, **meta):
    t = TransactionMetaData(**meta)
    s.tpc_begin(t, tid(n))
    work(t)
    s.tpc_vote(t)
    s.tpc_finish(t)


def small():
    s = FileStorage('small.fs', create=True)

    def store(oid, data, serial=z64):
        return lambda t: s.store(p64(oid), serial, data, '', t)

    commit(s, 1, store(0, b'root 1'), user='maker', description='the first')
    commit(s, 2, store(0, b'root 2', tid(1)))
    commit(s, 3, store(1, b'one'), extension={'key': 'value'})
    impl = sys.modules['ZODB.FileStorage.FileStorage']
    real, impl.TimeStamp = impl.TimeStamp, At
    s.pack(0, lambda data, refs=None: [], gc=False)
    impl.TimeStamp = real
    commit(s, 4, store(0, b'root 4', tid(2)))
    commit(s, 5, store(70000, b'far' * 1000))
    undo = base64.encodebytes(tid(4)).rstrip()
    commit(s, 6, lambda t: s.undo(undo, t), user='undoer')
    commit(s, 7, lambda t: s.deleteObject(p64(1), tid(3), t))
    s.close()
    shutil.copy('small.fs', 'unfinished.fs')
    with open('small.json', 'w') as f:
        json.dump(dump(), f, indent=1)
    unfinished()
    for name in os.listdir('.'):
        if name.startswith(('small.fs.', 'unfinished.fs.')) and name != 'small.fs.index':
            os.remove(name)


def dump():
    s = FileStorage('small.fs', read_only=True)
    result = []
    for t in s.iterator():
        result.append({
            'tid': t.tid.hex(), 'status': t.status, 'user': t.user.decode(),
            'description': t.description.decode(), 'extension': t.extension_bytes.hex(),
            'pos': t._tpos, 'end': t._tend,
            'records': [{'oid': r.oid.hex(), 'pos': r.pos} for r in t]})
    s.close()
    return result


def unfinished():
    s = FileStorage('unfinished.fs')
    t = TransactionMetaData()
    s.tpc_begin(t, tid(8))
    s.store(p64(2), z64, b'never', '', t)
    s.tpc_vote(t)
    s._file.flush()
    shutil.copy('unfinished.fs', 'unfinished.tmp')
    s.tpc_abort(t)
    s.close()
    os.replace('unfinished.tmp', 'unfinished.fs')


def wide():
    index = fsIndex()
    for oid in list(range(40)) + list(range(65536, 65536 + 300)) + [1 << 40, (1 << 63) + 5]:
        index[p64(oid)] = oid % 1000003 + 27
    index.save(1 << 45, 'wide.index')


small()
wide()
