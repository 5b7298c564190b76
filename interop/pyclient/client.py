"""What the client programs share: an address from the command line, answers as lines of JSON, retries."""
import json
import sys
import time

import transaction
import ZEO
import ZODB
from ZEO.Exceptions import ClientDisconnected, ClientStorageError
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError

# What a commit may end with when the server is killed under it: its outcome is unknown, the client goes on.
LOST = ClientDisconnected, ClientStorageError


def address(text):
    """Return host:port as ZEO wants it; anything with a slash is the path of a Unix socket. With commas: any of these."""
    if ',' in text:
        return [address(one) for one in text.split(',')]
    if '/' in text:
        return text
    host, _, port = text.rpartition(':')
    return host or '127.0.0.1', int(port)


def storage(text, **options):
    """Open a storage over ZEO: waits 60 s for a server that is being restarted."""
    return ZEO.client(address(text), **{'wait_timeout': 60, 'min_disconnect_poll': 0.1, **options})


def database(text, **options):
    """Open a database over ZEO, likewise."""
    return ZODB.DB(storage(text, **options))


def opened(place, compress=None, **options):
    """Open a database: file:FILE or zeo:ADDRESS; with zc.zlibstorage in between if compress is true or false."""
    kind, _, place = place.partition(':')
    base = FileStorage(place, **options) if kind == 'file' else storage(place, **options)
    if compress is not None:
        from zc.zlibstorage import ZlibStorage
        base = ZlibStorage(base, compress)
    return ZODB.DB(base)


def say(**answer):
    """Print one line of JSON for the test to read."""
    print(json.dumps(answer), flush=True)


def heard():
    """Wait for a line from the test; false at the end of its input."""
    return bool(sys.stdin.readline())


def until_done(change, attempts=1000):
    """Make a change and commit it, again after each conflict; return the number of conflicts."""
    for conflicts in range(attempts):
        try:
            transaction.begin()
            change()
            transaction.commit()
            return conflicts
        except ConflictError:
            transaction.abort()
            time.sleep(0.001 * (conflicts % 10))
    raise SystemExit('%d conflicts, one after the other' % attempts)
