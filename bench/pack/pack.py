"""Python's part of bench/pack.

pack.py pack FILE BLOBS TIME   pack to TIME with garbage collection, beside a writer
pack.py read FILE BLOBS        load every object; fails if one cannot be loaded
"""
import gc
import json
import sys
import threading
import time

import ZODB.blob  # blobs are found by their class
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf
from ZODB.utils import p64

WRITTEN = p64(2)  # the object that the writer writes


def memory(what):
    with open('/proc/self/status') as f:
        for line in f:
            if line.startswith(what):
                return int(line.split()[1]) * 1024


def write(storage, data, stop, written):
    while not stop.wait(0.05):
        t = TransactionMetaData(description='written')
        tid = storage.load(WRITTEN)[1]
        storage.tpc_begin(t)
        storage.store(WRITTEN, tid, data, '', t)
        storage.tpc_vote(t)
        written.append(storage.tpc_finish(t))


def pack(path, blobs, at):
    storage = FileStorage(path, blob_dir=blobs)
    gc.collect()
    data = storage.load(WRITTEN)[0]
    written, stop = [], threading.Event()
    writer = threading.Thread(target=write, args=(storage, data, stop, written))
    before = memory('VmRSS')
    with open('/proc/self/clear_refs', 'w') as f:
        f.write('5')  # the peak counts from here
    writer.start()
    began = time.time()
    storage.pack(float(at), referencesf)
    seconds = time.time() - began
    stop.set()
    writer.join()
    print(json.dumps({'seconds': seconds, 'serving': before, 'peak': memory('VmHWM'),
                      'commits': len(written), 'objects': len(storage)}))
    storage.close()


def read(path, blobs):
    storage = FileStorage(path, blob_dir=blobs, read_only=True)
    for oid in storage._index.keys():
        storage.load(oid)
    print(json.dumps({'objects': len(storage)}))
    storage.close()


globals()[sys.argv[1]](*sys.argv[2:])
