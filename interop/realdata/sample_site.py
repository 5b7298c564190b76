"""A database made with ZODB and its companions alone: trees, blobs, undone and packed revisions.

usage: sample_site.py DIRECTORY [SEED]
"""

import os
import random
import sys
import time

import transaction
import ZODB
from BTrees.fsBTree import fsBTree
from BTrees.IIBTree import IIBTree
from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from BTrees.OOBTree import OOTreeSet
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.POSException import UndoError


def change(root, rand):
    for _ in range(rand.randrange(1, 200)):
        n = rand.randrange(20000)
        key = n.to_bytes(2, 'big')
        if rand.random() < .6:
            root['t'][f'k{n}'] = n
            root['i'][n] = n * 2
            root['s'].insert((n, 'a', None))
            root['f'][key] = b'123456'
            root['l'][n] = PersistentList([n, root['m']])
        else:
            root['t'].pop(f'k{n}', None)
            root['i'].pop(n, None)
            root['f'].pop(key, None)
            root['l'].pop(n, None)
            if (n, 'a', None) in root['s']:
                root['s'].remove((n, 'a', None))


def main():
    directory, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    os.makedirs(directory, exist_ok=True)
    rand = random.Random(seed)
    db = ZODB.DB(FileStorage(os.path.join(directory, 'Data.fs'), blob_dir=os.path.join(directory, 'blobs')))
    connection = db.open()
    root = connection.root()
    for name, kind in (('t', OOBTree), ('i', IIBTree), ('s', OOTreeSet), ('f', fsBTree), ('l', LOBTree), ('m', PersistentMapping), ('n', Length)):
        root[name] = kind()
    transaction.commit()
    for n in range(120):
        change(root, rand)
        root['n'].change(1)
        if n % 10 == 0:
            root['m'][n] = PersistentMapping({'weak': WeakRef(root['t'])})
            root['m'][f'b{n}'] = Blob(b'x' * n)
        if n % 30 == 20:
            del root['m'][n - 20]
        transaction.commit()
        if n % 20 == 5:
            try:
                db.undo(db.undoInfo(0, 1)[0]['id'])
                transaction.commit()
            except UndoError:
                transaction.abort()
            connection.sync()
        if n in (50, 90):
            db.pack(time.time())
    db.close()


main()
