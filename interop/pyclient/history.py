"""History, iterators and current records over ZEO: history.py ADDRESS."""
import sys

import transaction
from persistent.mapping import PersistentMapping
from ZODB.utils import p64, u64

import client

db = client.database(sys.argv[1])
connection = db.open()
root = connection.root()
root['x'] = PersistentMapping(value=0)
transaction.commit()
tids = []
for i in range(1, 11):
    root['x']['value'] = i
    transaction.get().note('change %d' % i)
    transaction.get().setExtendedInfo('number', i)
    transaction.commit()
    tids.append(root['x']._p_serial)
oid, storage = root['x']._p_oid, db.storage

history = storage.history(oid, 20)
assert [h['tid'] for h in history] == tids[::-1] + [history[-1]['tid']], history
assert history[0]['number'] == 10 and history[0]['description'] == b'change 10', history[0]

# Over ZEO the records of a transaction must be read before the next transaction.
part = [(txn.tid, txn.extension, [r.oid for r in txn]) for txn in storage.iterator(tids[2], tids[6])]
assert part == [(tids[i - 1], {'number': i}, [oid]) for i in range(3, 8)], part
assert list(storage.iterator(p64(u64(tids[-1]) + 1))) == []

for i, tid in enumerate(tids):
    data, serial, following = storage.loadBefore(oid, p64(u64(tid) + 1))
    assert (serial, following) == (tid, tids[i + 1] if i + 1 < len(tids) else None)
    assert storage.loadSerial(oid, tid) == data

seen, after = [], None
while True:
    o, tid, data, after = storage.record_iternext(after)
    seen.append(o)
    assert storage.load(o)[1] == tid
    if after is None:
        break
assert seen == sorted(seen) and oid in seen
db.close()
client.say(revisions=len(history), records=len(seen))
