"""Readers that must never see half a transaction: pairs.py ADDRESS write|read TIMES.

A writer sets two objects to one value in each transaction. A reader loads both at each transaction boundary: they are equal,
and never older than what it has seen, or an invalidation came late or out of order.
"""
import sys

import transaction

import client

db = client.database(sys.argv[1])
connection = db.open()
root = connection.root()
left, right = root['left'], root['right']
client.say(ready=True)
client.heard()
if sys.argv[2] == 'write':
    for i in range(int(sys.argv[3])):

        def change():
            left['value'] += 1
            right['value'] += 1

        client.until_done(change)
    client.say(value=left['value'])
else:
    seen = reads = changes = 0
    while seen < int(sys.argv[3]):
        transaction.begin()
        pair = left['value'], right['value']
        assert pair[0] == pair[1], 'half a transaction: %s after %d' % (pair, seen)
        assert pair[0] >= seen, 'back in time: %s after %d' % (pair, seen)
        reads += 1
        changes += pair[0] > seen
        seen = pair[0]
    client.say(reads=reads, changes=changes)
db.close()
