"""Runs RelStorage on a SQLite database: rs.py DIRECTORY hp|hf COMMAND,ARG,ARG... COMMAND..., prints a JSON list of results."""
import json
import os
import random
import sys
import time

import persistent.mapping
import transaction
from BTrees.OOBTree import OOBTree
from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB import POSException
from ZODB.blob import Blob
from ZODB.DB import DB
from ZODB.utils import p64, u64


def storage(directory, form, **options):
    options = Options(keep_history=form == 'hp', blob_dir=os.path.join(directory, 'client-blobs'), **options)
    return RelStorage(Sqlite3Adapter(directory, {}, options=options), options=options)


def create(s):
    pass


def read(s):
    """What is below the root, by key."""
    db = DB(s)
    c = db.open()
    found = {k: v['value'] if isinstance(v, persistent.mapping.PersistentMapping) and 'value' in v else
                v.open('r').read().decode() if isinstance(v, Blob) else None
             for k, v in c.root().items()}
    c.close()
    return found


def write(s, key, value):
    """Sets a key of the root, and a mapping below it."""
    db = DB(s)
    c = db.open()
    m = persistent.mapping.PersistentMapping({'value': value})
    c.root()[key] = m
    transaction.get().note('python wrote ' + key)
    transaction.commit()
    oid = u64(m._p_oid)
    c.close()
    db.close()
    return oid


def writeblob(s, key, text):
    db = DB(s)
    c = db.open()
    c.root()[key] = Blob(text.encode())
    transaction.commit()
    c.close()
    db.close()


def undo(s, n):
    """Undoes the n-th last transaction."""
    db = DB(s)
    entry = db.undoInfo(0, int(n) + 1)[int(n)]
    db.undo(entry['id'])
    transaction.commit()
    db.close()


def fill(s, seed):
    """Writes a history with objects that come, change, go, and are garbage: some of it in cycles."""
    rnd = random.Random(int(seed))
    db = DB(s)
    c = db.open()
    root = c.root()
    root['tree'] = OOBTree()
    transaction.commit()
    for i in range(60):
        key = 'k%d' % rnd.randrange(12)
        what = rnd.random()
        if what < 0.5:
            m = root[key] = persistent.mapping.PersistentMapping({'n': i})
            if rnd.random() < 0.5:
                m['child'] = persistent.mapping.PersistentMapping({'parent': m, 'n': i})
            if rnd.random() < 0.3:
                m['blob'] = Blob(b'blob %d' % i)
        elif what < 0.7:
            root.pop(key, None)
        elif what < 0.85 and key in root:
            root[key]['n'] = i
        else:
            root['tree'][i] = persistent.mapping.PersistentMapping({'n': i})
        transaction.get().note('step %d' % i)
        transaction.commit()
        if i % 7 == 3 and getattr(s, 'supportsUndo', bool)():
            db.undo(db.undoInfo(0, 1)[0]['id'])
            try:
                transaction.commit()
            except Exception:
                transaction.abort()
    c.close()
    db.close()


def pack(s, t, gc):
    from ZODB.serialize import referencesf
    s._options.pack_gc = gc == 'gc'
    s.pack(int(t), referencesf)


NAMES = ['count%d' % i for i in range(4)] + ['account%d' % i for i in range(4)]


def setup(s):
    """Makes counters and accounts; returns their oids."""
    db = DB(s)
    c = db.open()
    for name in NAMES:
        c.root()[name] = persistent.mapping.PersistentMapping({'value': 1000000})
    transaction.commit()
    return [u64(c.root()[name]._p_oid) for name in NAMES]


def mix(s, n, seed):
    """Increments counters and moves money n times each; returns how many conflicts there were."""
    rnd = random.Random(int(seed))
    db = DB(s, pool_size=1)
    c = db.open()
    conflicts = broken = back = 0
    seen = {}
    for i in range(2 * int(n)):
        while True:
            transaction.begin()
            try:
                things = [c.root()[name] for name in NAMES]
                if sum(t['value'] for t in things[4:]) != 4000000:
                    broken += 1
                for name, t in zip(NAMES[:4], things):
                    if t['value'] < seen.get(name, 0):
                        back += 1
                    seen[name] = t['value']
                if i % 2:
                    things[rnd.randrange(4)]['value'] += 1
                else:
                    a, b = rnd.sample(things[4:], 2)
                    a['value'] -= 1
                    b['value'] += 1
                transaction.commit()
                break
            except Exception as e:
                transaction.abort()
                if not isinstance(e, POSException.ConflictError) and 'locked' not in str(e):
                    raise
                conflicts += 1
    c.close()
    db.close()
    return {'conflicts': conflicts, 'broken': broken, 'back': back}


def checkrefs(s):
    """References to objects that are not there."""
    from ZODB.serialize import referencesf
    return s.pack(None, referencesf, check_refs=True)


def oids(s, n):
    return [u64(s.new_oid()) for _ in range(int(n))]


def now(s):
    """The time of the last transaction, and half a transaction later."""
    from persistent.timestamp import TimeStamp
    return TimeStamp(s.lastTransaction()).timeTime()


def iterate(s):
    """Every transaction as RelStorage's iterator has it."""
    found = []
    for t in s.iterator():
        found.append([u64(t.tid), t.status, t.user.decode(), t.description.decode(), t.extension_bytes.hex() if hasattr(t, 'extension_bytes') else None,
                      sorted((u64(r.oid), r.data.hex() if r.data is not None else None) for r in t)])
    return found


def main():
    directory, form = sys.argv[1:3]
    results = []
    for command in sys.argv[3:]:
        name, *args = command.split(',')
        s = storage(directory, form)
        results.append(globals()[name](s, *args))
        s.close()
    json.dump(results, sys.stdout)


if __name__ == '__main__':
    main()
