"""Undoes transactions with RelStorage, and undoes that again: relundo.py CONF."""
import sys

import transaction
import ZODB.config
from persistent.mapping import PersistentMapping
from ZODB.POSException import UndoError

import client

db = ZODB.config.databaseFromURL(sys.argv[1])
connection = db.open()
root = connection.root()
before = sorted(root['tree'])
root['undo'] = PersistentMapping(n=0)
transaction.commit()
for n in range(1, 4):
    root['undo']['n'] = n
    transaction.commit()
seen = []
for _ in range(3):
    db.undo(db.undoLog(0, 1)[0]['id'])
    transaction.commit()
    connection.sync()
    seen.append(root['undo']['n'])
assert seen == [2, 3, 2], seen
try:
    db.undo(db.undoLog(5, 6)[0]['id'])  # n was changed since, and not back to that
    transaction.commit()
except UndoError:
    transaction.abort()
else:
    raise AssertionError('a transaction was undone that others build upon')
assert sorted(root['tree']) == before
client.say(undone=len(seen))
db.close()
