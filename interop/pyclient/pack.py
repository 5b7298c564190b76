"""Packs away history and looks at what is left: pack.py ADDRESS."""
import sys
import time

import transaction
from persistent.mapping import PersistentMapping
from ZODB.utils import p64, u64

import client

db = client.database(sys.argv[1])
connection = db.open()
root = connection.root()
for name in 'abcdefgh':
    root[name] = PersistentMapping(value=0)
transaction.commit()
for i in range(1, 21):
    for name in 'abcdefgh':
        root[name]['value'] = i
    transaction.commit()
middle = root['a']._p_serial
before = len(list(db.storage.iterator()))
size = db.storage.getSize()
db.storage.pack(time.time() + 1, None, wait=True)

db.cacheMinimize()
db.storage._cache.clear()
connection.sync()
assert [root[name]['value'] for name in 'abcdefgh'] == [20] * 8
assert len(db.storage.history(root['a']._p_oid, 99)) == 1
try:
    old = db.storage.loadBefore(root['a']._p_oid, middle)
except KeyError:
    old = None
root['a']['value'] = 21
transaction.commit()
client.say(before=before, after=len(list(db.storage.iterator())), old=old is not None,
           shrunk=db.storage.getSize() < size)
db.close()
