"""What ZODB's own scripts find in a Data.fs.

usage: fscheck.py plant FROM TO SEED    copies a Data.fs without some objects, and
                                        with the creation of others undone
       fscheck.py fsrefs DATA.FS        lines "REFERRER TARGET REASON", as fsrefs has them
       fscheck.py fstest DATA.FS...     a line "ok" or "bad" for each, as fstest has it
"""

import contextlib
import io
import random
import re
import sys

from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileIterator
from ZODB.FileStorage import FileStorage
from ZODB.scripts import fsrefs
from ZODB.scripts import fstest
from ZODB.utils import p64
from ZODB.utils import u64
from ZODB.utils import z64


def plant(source, target, seed):
    rand = random.Random(int(seed))
    oids = set()
    for transaction in FileIterator(source):
        oids.update(record.oid for record in transaction)
    oids = sorted(oids - {z64})
    lost = set(rand.sample(oids, 15))
    undone = set(rand.sample(sorted(set(oids) - lost), 10))
    out = FileStorage(target)
    last = None
    for transaction in FileIterator(source):
        last = transaction.tid
        out.tpc_begin(transaction, transaction.tid, transaction.status)
        for record in transaction:
            if record.oid not in lost:
                out.restore(record.oid, record.tid, record.data, '', record.data_txn, transaction)
        out.tpc_vote(transaction)
        out.tpc_finish(transaction)
    meta = TransactionMetaData()
    out.tpc_begin(meta, p64(u64(last) + 1))
    for oid in undone:
        out.restore(oid, p64(u64(last) + 1), None, '', None, meta)
    out.tpc_vote(meta)
    out.tpc_finish(meta)
    out.close()


def references(path):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        fsrefs.main(path)
    referrer = None
    for line in text.getvalue().splitlines():
        if found := re.match(r'oid (0x[0-9a-f]+)', line):
            referrer = int(found[1], 16)
        elif found := re.match(r'\toid (0x[0-9a-f]+) ([a-z ]+):', line):
            print(referrer, int(found[1], 16), found[2])


def structure(*paths):
    for path in paths:
        try:
            fstest.check(path)
            print('ok')
        except Exception:
            print('bad')


def main():
    {'plant': plant, 'fsrefs': references, 'fstest': structure}[sys.argv[1]](*sys.argv[2:])


main()
