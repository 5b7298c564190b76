"""Adds keys to one OOBTree of 2,000 that others add to, so that buckets split: splits.py ADDRESS NAME TIMES KEYS.

KEYS is growing, a prefix for each process, or random. TIMES 0 makes the tree. NAME is a
letter. Says how many conflicts reached the application, by kind: reads, of a node that
had to be current; writes, which nobody could merge. With the NAME - the tree is checked,
and the number of its keys said.
"""
import random
import sys

import transaction
from BTrees.check import check
from BTrees.OOBTree import OOBTree
from ZODB.POSException import ConflictError, ReadConflictError

import client

db = client.database(sys.argv[1])
name, times, growing = sys.argv[2], int(sys.argv[3]), sys.argv[4] == 'growing'
root = db.open().root()
rnd = random.Random('%s %d' % (name, times))
counts = dict(reads=0, writes=0)


def key(prefix, n):
    return '%s-%06d' % (prefix, n) if growing else '%08d-%s' % (rnd.randrange(10 ** 8), prefix)


if name == '-':
    tree = root['splits']
    tree._check()
    check(tree)
    client.say(keys=len(tree))
elif times == 0:
    root['splits'] = tree = OOBTree()
    for n in range(250):
        for prefix in 'abcdefgh':
            tree[key(prefix, n)] = n
    transaction.commit()
    client.say(keys=len(tree))
else:
    tree = root['splits']
    client.say(ready=True)
    client.heard()
    for n in range(times):
        new = key(name, 250 + n)
        while True:
            transaction.begin()
            try:
                tree[new] = n
                transaction.commit()
                break
            except ReadConflictError:
                counts['reads'] += 1
            except ConflictError:
                counts['writes'] += 1
            transaction.abort()
    client.say(**counts)
db.close()
