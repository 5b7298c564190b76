"""Print what ZODB.serialize.referencesf finds in every record of a Data.fs.

usage: references.py DATA.FS           one line for each record that has data, in the
                                       order of the file: tid, oid, and the oids that
                                       it refers to, in hexadecimal
       references.py --time DATA.FS    megabytes for each second of processor time
"""

import sys
import time

from ZODB.FileStorage import FileIterator
from ZODB.serialize import referencesf


def records(path):
    for transaction in FileIterator(path):
        for record in transaction:
            if record.data is not None:
                yield record


def main():
    *options, path = sys.argv[1:]
    if options:
        data = [record.data for record in records(path)]
        begin = time.process_time()
        for record in data:
            referencesf(record)
        print(sum(map(len, data)) / (time.process_time() - begin) / 1e6)
        return
    for record in records(path):
        oids = ' '.join(oid.hex() for oid in referencesf(record.data))
        sys.stdout.write(f'{record.tid.hex()} {record.oid.hex()} {oids}\n')


main()
