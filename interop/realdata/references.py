"""Print what ZODB.serialize.referencesf finds in every record of a Data.fs.

usage: references.py DATA.FS

One line for each record that has data, in the order of the file: tid, oid, and the
oids that it refers to, in hexadecimal.
"""

import sys

from ZODB.FileStorage import FileIterator
from ZODB.serialize import referencesf


def main():
    out = sys.stdout
    for transaction in FileIterator(sys.argv[1]):
        for record in transaction:
            if record.data is None:
                continue
            oids = ' '.join(oid.hex() for oid in referencesf(record.data))
            out.write(f'{record.tid.hex()} {record.oid.hex()} {oids}\n')


main()
