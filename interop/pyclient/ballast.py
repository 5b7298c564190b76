"""Adds objects so that a pack has something to copy and to drop: ballast.py ADDRESS NUMBER.

Half of them can be reached.
"""
import sys

import transaction
from persistent.mapping import PersistentMapping

import client

db = client.database(sys.argv[1])
root = db.open().root()
for part in range(int(sys.argv[2]) // 500):
    for name in ('kept', 'dropped'):
        root[name] = PersistentMapping(before=root.get(name) if name == 'kept' else None)
        for i in range(250):
            root[name][i] = PersistentMapping(text='%s %d ' % (name, i) * 100)
    transaction.commit()
del root['dropped']
transaction.commit()
db.close()
client.say(done=True)
