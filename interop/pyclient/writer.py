"""Commits until it is told to stop, whatever happens to the server: writer.py ADDRESS NAME [forgetful].

Says what it is about to write and what it was told is committed. A commit that the server left unanswered is neither.
Python's server forgets which oids it gave out and hands them out again; forgetful puts up with the errors of that.
"""
import sys
import threading

import transaction

import client

db = client.database(sys.argv[1])
name = sys.argv[2]
lost = client.LOST + (client.ConflictError,)
if sys.argv[3:] == ['forgetful']:
    lost += (ValueError, KeyError)
stop = threading.Event()
threading.Thread(target=lambda: (client.heard(), stop.set()), daemon=True).start()
connection = db.open()
i = 0
while not stop.is_set():
    key = '%s-%06d' % (name, i)
    i += 1
    client.say(trying=key)
    try:
        transaction.begin()
        connection.root()['tree'][key] = 'x' * (i % 1000)
        transaction.commit()
    except lost:
        transaction.abort()
        continue
    client.say(committed=key)
db.close()
client.say(stopped=True)
