"""Undoes transactions whose objects were changed since: undomerge.py ADDRESS.

Says what was undone, with the states then, and what was refused and how.
"""
import sys

import transaction
from BTrees.IOBTree import IOTreeSet
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.POSException import MultipleUndoErrors

import client

db = client.database(sys.argv[1])
connection = db.open()
root = connection.root()


def commit(note, change):
    change()
    transaction.get().note(note)
    transaction.commit()


def undo(note):
    entry = [e for e in db.undoLog(0, 100) if e['description'] == note][0]
    db.undo(entry['id'], transaction.get())
    transaction.get().note('undo of ' + note)
    try:
        transaction.commit()
    except MultipleUndoErrors as error:
        transaction.abort()
        return type(error).__name__
    connection.sync()
    return 'undone'


def make():
    root['tree'], root['length'], root['set'] = OOBTree({'a': 1, 'b': 2}), Length(10), IOTreeSet((1, 2))
    root['mapping'] = PersistentMapping(a=1)


def first():
    root['tree']['first'] = 1
    root['length'].change(3)
    root['set'].insert(5)


def second():
    root['tree']['second'] = 2
    root['length'].change(4)
    root['set'].insert(7)


commit('make', make)
commit('first', first)
commit('second', second)
said = [undo('first')]
states = [dict(root['tree']), root['length'](), list(root['set'])]
commit('mapping first', lambda: root['mapping'].update(first=1))
commit('mapping second', lambda: root['mapping'].update(second=1))
said.append(undo('mapping first'))
commit('change', lambda: root['tree'].update({'a': 'new'}))
commit('change again', lambda: root['tree'].update({'a': 'newer'}))
said.append(undo('change'))
db.close()
client.say(said=said, tree=states[0], length=states[1], set=states[2])
