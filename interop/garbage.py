"""Databases that refer to each other, with garbage, and what is garbage in them.

usage: garbage.py make DIRECTORY SEED    makes zodb.conf and three Data.fs
       garbage.py model DIRECTORY        prints the garbage, by a plain search
       garbage.py zodbdgc DIRECTORY      prints the garbage, by zc.zodbdgc; deletes it

Garbage is printed as lines "NAME OID".
"""

import io
import os
import random
import sys
import time

import transaction
import ZODB.blob
import ZODB.config
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.serialize import PersistentUnpickler
from ZODB.utils import u64
from ZODB.utils import z64

NAMES = 'one', 'two', 'three'


def conf(directory):
    return os.path.join(directory, 'zodb.conf')


def make(directory, seed):
    rand = random.Random(int(seed))
    os.makedirs(directory, exist_ok=True)
    with open(conf(directory), 'w') as f:
        for name in NAMES:
            f.write(f'''<zodb {name}>
  <filestorage>
    path {directory}/{name}.fs
    blob-dir {directory}/{name}.blobs
    pack-gc false
    pack-keep-old false
  </filestorage>
</zodb>
''')
    with open(conf(directory)) as f:
        db = ZODB.config.databaseFromFile(f)
    first = db.open()
    connections = [first.get_connection(name) for name in NAMES]
    known = [c.root() for c in connections]
    for step in range(120):
        for _ in range(rand.randrange(1, 8)):
            holder = rand.choice(known)
            what = rand.random()
            if what < .55:
                child = PersistentMapping() if rand.random() < .9 else ZODB.blob.Blob(b'data')
                rand.choice(connections).add(child)
                holder[f'k{rand.randrange(6)}'] = child
                if isinstance(child, PersistentMapping):
                    known.append(child)
            elif what < .75:
                holder[f'k{rand.randrange(6)}'] = rand.choice(known)
            elif what < .8:
                holder['weak'] = WeakRef(rand.choice(known))
            elif holder:
                key = rand.choice(sorted(holder))
                del holder[key]
        transaction.commit()
        if step == 80:
            for c in connections:
                c.db().pack()
    for c in connections:
        c.db().close()


def databases(directory):
    with open(conf(directory)) as f:
        return ZODB.config.databaseFromFile(f).databases


def references(data, name):
    found = []
    unpickler = PersistentUnpickler(None, found.append, io.BytesIO(data))
    unpickler.noload()
    unpickler.noload()
    for ref in found:
        if isinstance(ref, tuple):
            yield name, ref[0]
        elif isinstance(ref, list):
            if ref[0] in ('n', 'm'):
                yield ref[1][0], ref[1][1]
        else:
            yield name, ref


def model(directory):
    dbs = databases(directory)
    refs, alive = {}, set()
    for name, db in dbs.items():
        for t in db.storage.iterator():
            for r in t:
                if r.data is None:
                    alive.discard((name, r.oid))
                else:
                    alive.add((name, r.oid))
                    refs.setdefault((name, r.oid), set()).update(references(r.data, name))
    todo, reached = [(name, z64) for name in dbs], set()
    while todo:
        at = todo.pop()
        if at not in reached:
            reached.add(at)
            todo.extend(refs.get(at, ()))
    for name, oid in sorted(alive - reached):
        print(name, hex(u64(oid)))


def zodbdgc(directory):
    import zc.zodbdgc

    time.sleep(1.1)  # it takes whatever was written in this second for recent, also with days=0
    for name, oid in zc.zodbdgc.gc(conf(directory), days=0, return_bad=True):
        print(name, hex(oid))


def main():
    {'make': make, 'model': model, 'zodbdgc': zodbdgc}[sys.argv[1]](*sys.argv[2:])


main()
