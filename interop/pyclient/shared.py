"""Uses one file under several names at once: shared.py ADDRESS."""
import sys
import time

import transaction
from ZODB.POSException import ReadOnlyError

import client

address = sys.argv[1]
live = client.database(address)
again = client.database(address, storage='again')
public = client.database(address, storage='public', read_only=True)
trial = client.database(address, storage='trial')


def roots(*databases):
    return [db.open(transaction.TransactionManager()) for db in databases]


def await_value(connection, key, value):
    """Waits until a connection has been told of a commit through another name."""
    for _ in range(1000):
        connection.sync()
        if connection.root().get(key) == value:
            return 1
        time.sleep(0.01)
    raise AssertionError('%r never becomes %r' % (key, value))


one, two, reader, other = roots(live, again, public, trial)
seen = 0
for n in range(20):
    writer, peer = (one, two) if n % 2 else (two, one)
    writer.sync()
    writer.root()['n'] = n
    writer.transaction_manager.commit()
    seen += await_value(peer, 'n', n) + await_value(reader, 'n', n)

reader.root()['n'] = 'no'
try:
    reader.transaction_manager.commit()
    refused = False
except ReadOnlyError:
    refused = True

other.root()['trial'] = True
other.transaction_manager.commit()
one.sync()
client.say(seen=seen, refused=refused, apart='trial' not in one.root(), kept=other.root()['trial'])
