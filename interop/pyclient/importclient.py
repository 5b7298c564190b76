"""Reads and writes until it is told to stop, whatever happens to the server: importclient.py ADDRESS NAME FIRST OBJECTS SEED.

Says what it is about to write and what it was told is committed, as writer.py does. Between the commits it reads objects
of the source, and changes some of them. What it reads must be what is there, old or changed.
"""
import random
import sys
import threading

import transaction
from ZODB.utils import p64

import client

name, first, objects = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
dice = random.Random(sys.argv[5])
lost = client.LOST + (client.ConflictError,)
stop = threading.Event()
threading.Thread(target=lambda: (client.heard(), stop.set()), daemon=True).start()


def opened():
    """Open the database: the server may be killed under that too."""
    while True:
        try:
            return client.database(sys.argv[1]).open()
        except client.LOST:
            pass


client.say(ready=True)
connection = opened()
i = 0
while not stop.is_set():
    key = '%s-%06d' % (name, i)
    i += 1
    client.say(trying=key)
    try:
        transaction.begin()
        for _ in range(5):
            oid = dice.randrange(first, first + objects)
            thing = connection.get(p64(oid))
            if thing['oid'] != oid:
                raise SystemExit('object %d says that it is %r' % (oid, thing['oid']))
        if i % 3 == 0:
            thing['by'] = key
        connection.root()['tree'][key] = oid
        transaction.commit()
    except lost:
        transaction.abort()
        continue
    client.say(committed=key)
connection.db().close()
client.say(stopped=True)
