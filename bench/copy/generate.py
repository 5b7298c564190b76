"""Make a Data.fs with blobs: generate.py FOLDER MEGABYTES BLOB_MEGABYTES

Transactions change one to fifteen objects of some hundred bytes to some tens of
kilobytes each, half of them new ones; one of 200 is undone; the rest of the
bytes lies in blobs of 1 kB to some megabytes.
"""
import os
import random
import sys

import ZODB.FileStorage.FileStorage
from zodbpickle.pickle import dumps
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64
from ZODB.utils import z64

ZODB.FileStorage.FileStorage.fsync = None  # it is not this that is measured

folder, size, blob_size = sys.argv[1], float(sys.argv[2]) * 1e6, float(sys.argv[3]) * 1e6
rnd = random.Random(1)
noise = os.urandom(1 << 24)
blob_record = dumps(Blob, 3) + dumps(None, 3)


class Class:
    """Pickled by its name."""


Class.__module__, Class.__qualname__ = 'app.models.document', 'Document'
head = b'\x80\x03capp.models.document\nDocument\nq\x00.'


def record():
    n = min(int(rnd.lognormvariate(6.3, 1.2)), 60000)
    at = rnd.randrange(len(noise) - n)
    return head + dumps({'title': 'number %d' % at, 'body': noise[at:at + n], 'tags': ('a', 'b')}, 3)


storage = FileStorage(os.path.join(folder, 'Data.fs'), create=True, blob_dir=os.path.join(folder, 'blobs'))
serials = []
data_bytes = blob_bytes = count = 0
while data_bytes < size or blob_bytes < blob_size:
    count += 1
    extension = {'request': count} if count % 3 == 0 else {}
    t = TransactionMetaData('/acl_users admin', '/plone/folder-%d/edit' % (count % 100), extension)
    storage.tpc_begin(t)
    if count % 200 == 0:
        storage.undo(storage.undoLog(0, 1)[0]['id'], t)
        storage.tpc_vote(t)
        storage.tpc_finish(t)
        continue
    changed = {}
    if data_bytes < size:
        for i in range(rnd.randint(1, 15)):
            oid = len(serials) if rnd.random() < 0.5 or len(serials) < 100 else rnd.randrange(len(serials))
            if oid == len(serials):
                serials.append(z64)
            if oid in changed or serials[oid] is None:
                continue
            changed[oid] = data = record()
            data_bytes += len(data) + 42
            storage.store(p64(oid), serials[oid], data, '', t)
    if blob_bytes < blob_size * min(1, data_bytes / size):
        n = min(int(rnd.lognormvariate(11, 1.5)), 8000000)
        blob_bytes += n
        name = os.path.join(storage.temporaryDirectory(), 'new')
        with open(name, 'wb') as f:
            while n > 0:
                f.write(noise[:n])
                n -= len(noise)
        oid = len(serials)
        serials.append(None)  # blobs are not changed again
        storage.storeBlob(p64(oid), z64, blob_record, name, '', t)
    storage.tpc_vote(t)
    tid = storage.tpc_finish(t)
    for oid in changed:
        serials[oid] = tid
    if (count + 1) % 200 == 0:
        for oid in changed:  # is undone next
            serials[oid] = None
storage.close()
