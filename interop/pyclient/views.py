"""Compares views of a storage with Python's historical connections and with zc.beforestorage: views.py ADDRESS BLOB-DIR."""
import base64
import datetime
import itertools
import sys
import tempfile
import time

import transaction
import ZODB
from persistent.mapping import PersistentMapping
from zc.beforestorage import Before
from ZEO.Exceptions import ClientDisconnected
from ZODB.blob import Blob
from ZODB.POSException import POSKeyError, ReadOnlyError
from ZODB.utils import maxtid, p64, u64

import client

address = sys.argv[1]
began = datetime.datetime.utcnow()
live = client.database(address, blob_dir=tempfile.mkdtemp())
connection = live.open()
root = connection.root()
tids = []


def commit(note):
    transaction.get().note(note)
    transaction.commit()
    tids.append(live.lastTransaction())


def view(instant, **options):
    return client.storage(address, storage='1@' + instant, read_only=True, **options)


def content(root):
    """What a root looks like, all the way down."""
    return {key: value.open().read() if isinstance(value, Blob) else (value['n'], sorted(value.get('more', {})))
            for key, value in root.items()}


def same(what, one, two):
    assert one == two, '%s: in the view %r, want %r' % (what, one, two)


def asked(f, *args):
    try:
        return f(*args)
    except POSKeyError:
        return None


for i in range(4):
    root['a%d' % i] = PersistentMapping(n=i)
    commit('new %d' % i)
    root['a0']['n'] = 10 * i
    root['a0']['more'] = PersistentMapping({i: i})
    commit('change %d' % i)
root['blob'] = Blob(b'one')
commit('blob')
with root['blob'].open('w') as f:
    f.write(b'two')
commit('blob changed')
del root['a1']
commit('removed')
live.undo(live.undoLog(0, 1)[0]['id'], transaction.get())
commit('undone')

views = [(tid, ZODB.DB(view('0x' + tid.hex(), blob_dir=tempfile.mkdtemp()))) for tid in tids]
oids = {r.oid for t in live.storage.iterator() for r in t}
connection.sync()
root['a0']['n'] = 'later'  # the views are open: they must not see it
transaction.commit()

for (tid, db), earlier in zip(views, [None] + tids):
    transaction.begin()
    want = content(live.open(at=tid, transaction_manager=transaction.TransactionManager()).root())
    same('content', content(db.open().root()), want)
    before = Before(live.storage, p64(u64(tid) + 1))
    same('last transaction', db.storage.lastTransaction(), tid)
    for oid in sorted(oids):
        for at in [maxtid, tid] + tids[::3]:
            same('object %r before %r' % (oid, at), asked(db.storage.loadBefore, oid, at), asked(before.loadBefore, oid, at))
        same('history', [h['tid'] for h in asked(db.storage.history, oid, 9) or ()],
             [h['tid'] for h in asked(before.history, oid, '', 9) or ()])
    same('transactions', [t.tid for t in db.storage.iterator()],
         list(itertools.takewhile(lambda t: t <= tid, (t.tid for t in live.storage.iterator()))))
    same('undo log', [e['id'] for e in db.undoLog(0, 99)],
         [e['id'] for e in live.undoLog(0, 99) if base64.b64decode(e['id']) <= tid])
    refused = 0
    for f in (lambda: db.storage.pack(time.time(), None), lambda: db.storage.new_oid(),
              lambda: db.storage.tpc_begin(transaction.get())):
        try:
            f()
        except ReadOnlyError:
            refused += 1
    same('what writes is refused', refused, 3)

# times: just after all commits, and before the first
now = view(datetime.datetime.utcnow().isoformat() + 'Z')
same('the last transaction by now', now.lastTransaction(), live.lastTransaction())
empty = view((began - datetime.timedelta(days=1)).isoformat() + 'Z')
same('the last transaction before the first', u64(empty.lastTransaction()), 0)
same('objects before the first transaction', asked(empty.loadBefore, p64(0), maxtid), None)
wrong = 0
for instant, read_only in ('2999-01-01', True), ('yesterday', True), ('', True), ('-2h', False):
    try:
        client.storage(address, storage='1@' + instant, read_only=read_only, wait_timeout=1)
    except ClientDisconnected:
        wrong += 1
try:
    ZODB.DB(empty)
except ReadOnlyError:
    wrong += 1
client.say(views=len(views), objects=len(oids), wrong=wrong)
for _, db in views:
    db.close()
live.close()
