"""Writes a database through zc.zlibstorage or without it, and reads it again: compressed.py MODE PLACE FORM SEED.

PLACE is file:FILE or zeo:ADDRESS. FORM says what this side does: zlib (compresses), keep (reads what is compressed, writes
plain), none (knows nothing of it).
"""
import random
import sys
import time

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileStorage

import client

FORMS = {'zlib': True, 'keep': False, 'none': None}
mode, place, form, seed = sys.argv[1:]
dice = random.Random(seed)


def text():
    return 'some words %d ' % dice.randrange(10) * dice.randrange(1, 100)


def write():
    db = client.opened(place, FORMS[form])
    root = db.open().root()
    if 'tree' not in root:
        root['tree'] = OOBTree()
        transaction.commit()
    for i in range(25):
        # a chain of three objects, of which the last may become garbage
        end = PersistentMapping(text=text())
        root['tree']['%s-%03d' % (seed, i)] = PersistentMapping(text=text(), next=PersistentMapping(text=text(), next=end))
        key = dice.choice(list(root['tree']))
        root['tree'][key]['next']['next'] = PersistentMapping(text=text())
        transaction.get().note('change %d of %s' % (i, seed))
        transaction.commit()
    entry = db.undoLog(0, 1)[0]
    db.undo(entry['id'], transaction.get())
    transaction.commit()
    db.close()
    read()


def pack():
    """Pack with garbage collection, which must leave what can be reached."""
    db = client.opened(place, FORMS[form])
    db.storage.pack(time.time(), db.references)
    db.close()
    read()


def read():
    """Read every object that can be reached, as a client without a cache."""
    db = client.opened(place, FORMS[form])
    values = []
    for key, value in db.open().root()['tree'].items():
        values.append((key, value['text'], value['next']['text'], value['next']['next']['text']))
    client.say(keys=len(values), state=repr(hash(tuple(values))))
    db.close()


def look():
    """Count the records in a file: all, and those that are compressed."""
    storage = FileStorage(place.partition(':')[2], read_only=True)
    records = [r.data for t in storage.iterator() for r in t if r.data]
    client.say(records=len(records), compressed=sum(data[:2] == b'.z' for data in records), objects=len(storage))
    storage.close()


def merge():
    """Let two clients add to one bucket, whose record is compressed."""
    one = client.opened(place, FORMS[form])
    managers = [transaction.TransactionManager() for _ in range(2)]
    managers[0].begin()
    root = one.open(managers[0]).root()
    root['bucket'] = OOBTree({'key %02d' % i: 'x' * 50 for i in range(10)})
    managers[0].commit()
    two = client.opened(place, FORMS[form])  # only now: it has to know the bucket
    for i in range(20):
        roots = []
        for manager, db in zip(managers, (one, two)):
            manager.begin()
            connection = db.open(manager)
            roots.append((connection, connection.root()['bucket']))
        for n, (connection, bucket) in enumerate(roots):
            bucket['key %02d' % (i % 10)]  # both have read it
            bucket['new %d' % n] = 'y' * i
        for manager in managers:
            manager.commit()
        for connection, bucket in roots:
            connection.close()
    client.say(merged=20)
    one.close()
    two.close()


{'write': write, 'pack': pack, 'read': read, 'look': look, 'merge': merge}[mode]()
