"""Undo, undo of undo, and an undo that must be refused: undo.py ADDRESS."""
import sys

import transaction
from persistent.mapping import PersistentMapping
from ZODB.POSException import UndoError

import client

db = client.database(sys.argv[1])
connection = db.open()
root = connection.root()


def commit(value, note):
    root['x']['value'] = value
    transaction.get().note(note)
    transaction.commit()


def undo(note):
    entry = [e for e in db.undoLog(0, 100) if e['description'] == note][0]
    db.undo(entry['id'], transaction.get())
    transaction.get().note('undo of ' + note)
    transaction.commit()
    connection.sync()


root['x'] = PersistentMapping(value='zero')
transaction.get().note('creation')
transaction.get().setUser('somebody')
transaction.commit()
values = []
commit('one', 'first')
commit('two', 'second')
undo('second')
values.append(root['x']['value'])
undo('undo of second')
values.append(root['x']['value'])
try:
    undo('first')  # data written later depend on it: the same object has another value
    refused = False
except UndoError:
    transaction.abort()
    refused = True
log = db.undoInfo(0, -100, {'user_name': b'/ somebody'})
client.say(values=values, refused=refused, notes=[e['description'] for e in db.undoLog(0, 5)],
           by_user=[e['description'] for e in log])
db.close()
