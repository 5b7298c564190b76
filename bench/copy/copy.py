"""Copy a Data.fs with blobs as Python does it: copy.py FROM_FOLDER TO_FOLDER

Prints the seconds that copyTransactionsFrom and closing the copy took, without
the start of Python.
"""
import os
import sys
import time

from ZODB.FileStorage import FileStorage


def storage(folder, **options):
    return FileStorage(os.path.join(folder, 'Data.fs'), blob_dir=os.path.join(folder, 'blobs'), **options)


began = time.monotonic()
source = storage(sys.argv[1], read_only=True)
destination = storage(sys.argv[2])
destination.copyTransactionsFrom(source)
destination.close()
source.close()
print(time.monotonic() - began)
