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


def commit(storage):
    t = TransactionMetaData(description='written')
    data, tid = storage.load(WRITTEN)
    storage.tpc_begin(t)
    storage.store(WRITTEN, tid, data, '', t)
    storage.tpc_vote(t)
    return storage.tpc_finish(t)


def write(storage, stop, written):
    while not stop.wait(0.05):
        written.append(commit(storage))


def pack(path, blobs, at):
    storage = FileStorage(path, blob_dir=blobs)
    written, stop = [], threading.Event()
    for _ in range(20):  # serving is more than having opened
        written.append(commit(storage))
    gc.collect()
    writer = threading.Thread(target=write, args=(storage, stop, written))
    before = memory('VmRSS')
    with open('/proc/self/clear_refs', 'w') as f:
        f.write('5')  # the peak counts from here
    writer.start()
    began, cpu = time.time(), time.process_time()
    storage.pack(float(at), referencesf)
    seconds, cpu = time.time() - began, time.process_time() - cpu
    stop.set()
    writer.join()
    print(json.dumps({'seconds': seconds, 'cpu': cpu, 'serving': before, 'peak': memory('VmHWM'),
                      'commits': len(written), 'objects': len(storage)}))
    storage.close()


def read(path, blobs):
    storage = FileStorage(path, blob_dir=blobs, read_only=True)
    for oid in storage._index.keys():
        storage.load(oid)
    print(json.dumps({'objects': len(storage)}))
    storage.close()


globals()[sys.argv[1]](*sys.argv[2:])
