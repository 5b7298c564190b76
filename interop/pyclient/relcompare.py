"""Compares a Data.fs with what RelStorage reads of a SQL database: relcompare.py FOLDER CONF [--current].

Every transaction, every record and every blob, and the current state of every object; with --current the last only. CONF has a
section <zodb> with a <relstorage>.
"""
import filecmp
import itertools
import os
import sys

import ZODB.config
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError

import client

folder, conf = sys.argv[1:3]
file = FileStorage(os.path.join(folder, 'Data.fs'), blob_dir=os.path.join(folder, 'blobs'), read_only=True)
db = ZODB.config.databaseFromURL(conf)
sql = db.storage
history = '--current' not in sys.argv


def same(what, one, two):
    assert one == two, '%s differ: %r in the file, %r in the database' % (what, one, two)


def asked(f, *args):
    try:
        return f(*args)
    except POSKeyError:
        return 'POSKeyError'


def same_blob(oid, tid):
    one = asked(file.loadBlob, oid, tid)
    if one == 'POSKeyError':  # none: of such RelStorage must not even be asked
        return False
    two = asked(sql.loadBlob, oid, tid)
    assert two != 'POSKeyError', 'there is no blob of %r at %r in the database' % (oid, tid)
    assert filecmp.cmp(one, two, shallow=False), 'blobs of %r at %r differ' % (oid, tid)
    return True


same('last transactions', file.lastTransaction(), sql.lastTransaction())
transactions = records = blobs = 0
oids = {record.oid for txn in file.iterator() for record in txn}
if history:
    for one, two in itertools.zip_longest(file.iterator(), sql.iterator()):
        same('transactions', one and one.tid, two and two.tid)
        transactions += 1
        for field in 'user', 'description', 'extension', 'extension_bytes':
            same('%s of %r' % (field, one.tid), getattr(one, field), getattr(two, field))
        in_file = {r.oid: r.data for r in one}  # of an object that is there twice the last counts
        in_sql = {r.oid: r.data for r in two}
        same('objects of %r' % one.tid, sorted(in_file), sorted(in_sql))
        for oid, data in in_file.items():
            same('records of %r at %r' % (oid, one.tid), data, in_sql[oid])
            records += 1
            blobs += data is not None and same_blob(oid, one.tid)
for oid in oids:
    current = asked(file.load, oid, '')
    same('current state of %r' % oid, current, asked(sql.load, oid, ''))
    if current != 'POSKeyError':
        records += not history
        blobs += not history and same_blob(oid, current[1])
client.say(transactions=transactions, records=records, blobs=blobs)
db.close()
file.close()
