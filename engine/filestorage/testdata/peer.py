"""What the tests ask of Python's FileStorage. Usage: peer.py COMMAND FILE ...

extend FILE SEED N   commit N transactions chosen by SEED
pack FILE TID GC     pack up to and including TID (hexadecimal), GC is 0 or 1
dump FILE            print all that can be read, as JSON

Data are one byte n, n oids that they refer to, and whatever.
"""
import base64
import json
import logging
import random
import sys

from persistent.TimeStamp import TimeStamp
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError, UndoError
from ZODB.utils import p64, u64

impl = sys.modules['ZODB.FileStorage.FileStorage']  # not the class of that name


def references(data, oids=None):
    refs = [data[1 + 8 * i:9 + 8 * i] for i in range(data[0])]
    if oids is not None:
        oids.extend(refs)
    return refs


def commit(s, work, **meta):
    t = TransactionMetaData(**meta)
    s.tpc_begin(t)
    try:
        work(t)
        s.tpc_vote(t)
    except UndoError:
        s.tpc_abort(t)
        return None
    return s.tpc_finish(t)


def random_data(rng, oids):
    refs = rng.sample(oids, min(len(oids), rng.randrange(4)))
    size = rng.choice([0, 10, 300, 5000])
    return bytes([len(refs)]) + b''.join(refs) + rng.randbytes(size)


def extend(path, seed, n):
    rng = random.Random(int(seed))
    s = FileStorage(path)
    current = {}
    next = None
    if len(s):
        next = p64(0)
        while True:
            try:
                oid, tid, data, next = s.record_iternext(next)
                current[oid] = tid
            except POSKeyError:
                next = p64(u64(next) + 1)
                try:
                    s._index.minKey(next)
                except ValueError:
                    break
                continue
            if next is None:
                break
    else:
        tid = commit(s, lambda t: s.store(p64(0), p64(0), b'\0root', '', t))
        current[p64(0)] = tid
    for i in range(int(n)):
        kind = rng.randrange(10)
        touched = []
        if kind == 0:
            log = s.undoLog(0, 20)
            if not log:
                continue
            entry = rng.choice(log)
            tid = commit(s, lambda t: touched.extend(s.undo(entry['id'], t)[1]),
                         user='undoer')
        elif kind == 1 and len(current) > 2:
            oid = rng.choice(sorted(set(current) - {p64(0)}))
            touched = [oid]
            tid = commit(s, lambda t: s.deleteObject(oid, current[oid], t))
        else:
            oids = sorted(current)
            touched = rng.sample(oids, min(len(oids), rng.randrange(1, 4)))
            for _ in range(rng.randrange(3)):
                touched.append(s.new_oid())

            def work(t):
                for oid in touched:
                    s.store(oid, current.get(oid, p64(0)),
                            random_data(rng, sorted(current)), '', t)
            tid = commit(s, work, user='user %d' % i, description='d\u00e9 %d' % i,
                         extension={'n': i, 'x': 'y' * rng.randrange(300)})
        if tid is None:
            continue
        for oid in touched:
            try:
                current[oid] = s.load(oid)[1]
            except POSKeyError:
                current.pop(oid, None)
    s.close()


def pack(path, tid, gc):
    class At:
        def __init__(self, *args):
            pass

        def raw(self):
            return bytes.fromhex(tid)

    s = FileStorage(path)
    impl.TimeStamp = At
    try:
        s.pack(0, references, gc=gc == '1')
    finally:
        impl.TimeStamp = TimeStamp
    s.close()


def hexed(b):
    return None if b is None else b.hex()


def dump(path):
    s = FileStorage(path, read_only=True)
    result = {'used_index': bool(s._used_index), 'transactions': [], 'objects': {}}
    for t in s.iterator():
        records = [{'oid': hexed(r.oid), 'data': hexed(r.data),
                    'from': hexed(r.data_txn) if r.data is not None else None}
                   for r in t]
        result['transactions'].append({
            'tid': hexed(t.tid), 'status': t.status, 'user': hexed(t.user),
            'description': hexed(t.description),
            'extension': hexed(t.extension_bytes), 'records': records})
    tids = [bytes.fromhex(t['tid']) for t in result['transactions']]
    tids.append(b'\x7f' + b'\xff' * 7)
    for oid in s._index:
        loads = []
        for tid in tids:
            try:
                found = s.loadBefore(oid, tid)
                loads.append(found and [hexed(x) for x in found])
            except POSKeyError:
                loads.append('deleted')
        result['objects'][hexed(oid)] = loads
    result['undo'] = [
        base64.b64decode(e['id']).hex() for e in s.undoLog(0, 10**6)]
    s.close()
    json.dump(result, sys.stdout)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    # The data are no pickles, so an undo that would need a merge is refused.
    logging.getLogger('ZODB.ConflictResolution').setLevel(logging.CRITICAL)
    {'extend': extend, 'pack': pack, 'dump': dump}[sys.argv[1]](*sys.argv[2:])
