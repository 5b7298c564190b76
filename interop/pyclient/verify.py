"""Opens a file with Python's FileStorage and reads everything in it: verify.py FILE.

Says the keys of the tree that writer.py fills, and how many transactions and records there are. Every record of every
transaction is read, every state of a current object is loaded, and the tree is checked for its own invariants.
"""
import sys

from BTrees.check import check
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError

import client

storage = FileStorage(sys.argv[1])
transactions = records = 0
last = b''
newest = {}
for txn in storage.iterator():
    assert txn.tid > last, 'transactions out of order'
    last = txn.tid
    transactions += 1
    for record in txn:
        assert record.tid == txn.tid
        newest[record.oid] = record.tid, record.data
        records += 1
for oid, (tid, data) in newest.items():
    try:
        assert storage.load(oid) == (data, tid), oid
    except POSKeyError:
        assert data is None, 'a record that the index does not know: %r' % oid
db = DB(storage)
tree = db.open().root().get('tree', {})
if tree:
    check(tree)
    tree._check()
client.say(transactions=transactions, records=records, keys=sorted(tree))
db.close()
