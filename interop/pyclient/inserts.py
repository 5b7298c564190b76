"""Adds keys of its own to one OOBTree that everybody adds to: inserts.py ADDRESS NAME TIMES.

Says how many conflicts the server left to this client, and what became of them:
clientmerged: this client's own classes could merge, so Python's server could have;
unmerged: they could not, as Python's server could not; reads: a parent node that was
split had to be current, which no merge is asked about; other: anything else.
"""
import random
import sys

import transaction
from ZODB.POSException import ConflictError, ReadConflictError
from ZEO.ClientStorage import ClientStorage

import client

db = client.database(sys.argv[1])
name, times = sys.argv[2], int(sys.argv[3])
counts = dict(clientmerged=0, unmerged=0, reads=0, other=0)
refused = []
try_to_resolve = ClientStorage.tryToResolveConflict


def counted(self, *args, **kw):
    try:
        data = try_to_resolve(self, *args, **kw)
    except ConflictError as error:
        refused.append(error)
        raise
    counts['clientmerged'] += 1
    return data


ClientStorage.tryToResolveConflict = counted
tree = db.open().root()['tree']
rnd = random.Random(name)
client.say(ready=True)
client.heard()
for i in range(times):
    key = '%06d-%s-%d' % (rnd.randrange(10 ** 6), name, i)
    while True:
        transaction.begin()
        try:
            tree[key] = i
            transaction.commit()
            break
        except ReadConflictError:
            counts['reads'] += 1
        except ConflictError as error:
            counts['unmerged' if error in refused else 'other'] += 1
        transaction.abort()
db.close()
client.say(commits=times, **counts)
