"""Moves money between accounts until it is told to stop, whatever happens to the servers: bank.py ADDRESS.

In every transaction all accounts together have the same sum, and as many transfers were made as in the last one, or more. A
client that is shown an old state beside a new one, or that goes back, says what it saw and ends badly.
"""
import random
import sys
import threading

import transaction

import client

ACCOUNTS = 8
SUM = 800

db = client.database(sys.argv[1])
lost = client.LOST + (client.ConflictError,)
connection = db.open()
client.say(ready=True)
stop = threading.Event()
threading.Thread(target=lambda: (client.heard(), stop.set()), daemon=True).start()
seen = looks = moved = 0
while not stop.is_set():
    try:
        transaction.begin()
        accounts = [connection.root()['account%d' % i] for i in range(ACCOUNTS)]
        values = [a['value'] for a in accounts]
        moves = connection.root()['moves']['value']
        assert sum(values) == SUM, 'the accounts have %s after %d transfers' % (values, moves)
        assert moves >= seen, 'back in time: %d transfers after %d' % (moves, seen)
        seen = moves
        looks += 1
        if random.random() < 0.5:
            continue
        from_, to = random.sample(accounts, 2)
        from_['value'] -= 1
        to['value'] += 1
        connection.root()['moves']['value'] += 1
        transaction.commit()
        moved += 1
    except lost:
        transaction.abort()
client.say(looks=looks, moved=moved, seen=seen)
db.close()
