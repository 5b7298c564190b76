"""Stores blobs through one client and reads them through another with an empty cache: blobs.py ADDRESS [SHARED-DIR]."""
import hashlib
import os
import sys
import tempfile

import transaction
from ZODB.blob import Blob
from ZODB.utils import p64

import client

SIZES = 0, 1, 58999, 59000, 59001, 1 << 20, 5 << 20
shared = sys.argv[2] if len(sys.argv) > 2 else None


def content(size, salt):
    block = hashlib.sha256(b'%d %d' % (size, salt)).digest()
    return (block * (size // 32 + 1))[:size]


def connect(cache):
    if shared:
        return client.database(sys.argv[1], blob_dir=shared, shared_blob_dir=True)
    return client.database(sys.argv[1], blob_dir=cache)


with tempfile.TemporaryDirectory() as tmp:
    writer = connect(os.path.join(tmp, 'writer'))
    root = writer.open().root()
    for size in SIZES:
        root['blob%d' % size] = Blob(content(size, 0))
    transaction.commit()
    first = writer.lastTransaction()
    with root['blob59000'].open('w') as f:
        f.write(content(59000, 1))
    transaction.commit()

    reader = connect(os.path.join(tmp, 'reader'))
    seen = reader.open().root()
    for size in SIZES:
        with seen['blob%d' % size].open() as f:
            assert f.read() == content(size, int(size == 59000)), size
    old = reader.storage.loadBlob(seen['blob59000']._p_oid, first)
    with open(old, 'rb') as f:
        assert f.read() == content(59000, 0), 'the earlier revision of a blob'

    transaction.begin()
    root['aborted'] = Blob(b'never')
    transaction.abort()
    try:
        reader.storage.loadBlob(p64(12345), first)
    except KeyError:
        client.say(blobs=len(SIZES))
    writer.close()
    reader.close()
