"""Makes a database to import: importsource.py FILE BLOB-DIR OBJECTS.

Beside the tree that importclient.py fills, and some blobs, it has OBJECTS objects that know their own oid, written below
the level of objects, since there may be millions. Says the first of their oids.
"""
import pickle
import sys

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64, u64, z64

import client

path, blob_dir, objects = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = DB(FileStorage(path, blob_dir=blob_dir))
root = db.open().root()
root['tree'] = OOBTree()
root['blobs'] = PersistentMapping({i: Blob(b'%d' % i * 1000) for i in range(20)})
transaction.commit()
db.close()

storage = FileStorage(path)
first = u64(storage.new_oid()) + 100
kind = pickle.dumps(PersistentMapping, 3)
each = max(20, objects // 5000)
for start in range(first, first + objects, each):
    txn = TransactionMetaData(description='objects from %d' % start)
    storage.tpc_begin(txn)
    for oid in range(start, min(start + each, first + objects)):
        storage.store(p64(oid), z64, kind + pickle.dumps({'data': {'oid': oid, 'text': 'x' * 400}}, 3), '', txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
storage.close()
client.say(first=first)
