"""Writes a seeded mixture of everything a Data.fs can hold: scribble.py file:FILE|zeo:ADDRESS|zconfig:CONF SEED [BLOB-DIR].

The same program writes through Python's FileStorage and through a server, so that each continues what the other began; and through RelStorage.
"""
import random
import sys
import time

import transaction
import ZODB.config
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import UndoError

import client

kind, _, place = sys.argv[1].partition(':')
seed = int(sys.argv[2])
blob_dir = sys.argv[3] if len(sys.argv) > 3 else None
dice = random.Random(seed)
if kind == 'file':
    db = DB(FileStorage(place, blob_dir=blob_dir, pack_gc=False))
elif kind == 'zconfig':
    db = ZODB.config.databaseFromURL(place)
else:
    db = client.database(place, blob_dir=blob_dir, shared_blob_dir=bool(blob_dir))
connection = db.open()
root = connection.root()
if 'tree' not in root:
    root['tree'] = OOBTree()
    transaction.commit()


def change(i):
    for _ in range(dice.randrange(1, 5)):
        root['tree']['%d-%d-%d' % (seed, i, dice.randrange(100))] = PersistentMapping(text='y' * dice.randrange(3000))
    transaction.get().note('change %d of %d, ümlaut' % (i, seed))
    transaction.get().setUser('user%d' % dice.randrange(3))
    transaction.get().setExtendedInfo('seed', seed)
    transaction.commit()


def undo(i):
    # Changes only: the creation of the tree must stay.
    entries = [e for e in db.undoLog(0, 3) if e['description'].startswith('change')]
    if not entries:
        return change(i)
    try:
        db.undo(dice.choice(entries)['id'], transaction.get())
        transaction.commit()
    except UndoError:
        transaction.abort()
    connection.sync()


def blob(i):
    root['tree']['blob-%d-%d' % (seed, i)] = Blob(b'%d' % i * dice.randrange(1, 100000))
    transaction.commit()


def pack(i):
    if kind != 'zeo':
        db.pack(time.time() - 0.2)
    else:
        db.storage.pack(time.time() - 0.2, None, wait=True)


acts = [change] * 12 + [undo] * 3 * db.supportsUndo() + [blob] * 2 * bool(blob_dir)
for i in range(30):
    dice.choice(acts)(i)
if seed % 2:
    pack(30)
change(31)
client.say(keys=len(root['tree']))
db.close()
