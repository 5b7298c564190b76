"""Commits large objects until the disk is full, waits, and goes on: fill.py ADDRESS NAME."""
import os
import sys

import transaction
from persistent.mapping import PersistentMapping

import client

db = client.database(sys.argv[1])
name = sys.argv[2]
connection = db.open()
committed = []


def store(size):
    key = '%s-%06d' % (name, len(committed))
    transaction.begin()
    connection.root()['tree'][key] = PersistentMapping(data=os.urandom(size))
    transaction.commit()
    committed.append(key)


failures = []
while len(failures) < 3 and len(committed) < 1000:
    try:
        store(200000)
    except Exception as error:
        transaction.abort()
        failures.append('%s: %s' % (type(error).__name__, error))
read = len(connection.root()['tree'])
client.say(committed=committed, failures=failures, read=read)
client.heard()
for _ in range(3):
    store(200000)
client.say(committed=committed)
db.close()
