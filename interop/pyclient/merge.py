"""Two clients change one state, each without having seen the other's change: merge.py ADDRESS.

Says which pairs of changes became one state that holds both, and which were conflicts.
"""
import sys

import transaction
from BTrees.IOBTree import IOBTree
from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree, OOSet, OOTreeSet
from persistent.mapping import PersistentMapping

import client

# server_sync: a transaction begins with what the other client has committed.
one, two = (client.database(sys.argv[1], server_sync=True) for _ in range(2))
first, second = transaction.TransactionManager(), transaction.TransactionManager()
left, right = one.open(first), two.open(second)
merged, refused = [], []


def both(name, made, change, other, outcome=None):
    """Store made, change it on both sides, and compare with outcome, a plain value, if the second commit is accepted."""
    first.begin()
    left.root()[name] = made
    first.commit()
    second.begin()
    first.begin()
    change(left.root()[name])
    other(right.root()[name])
    first.commit()
    try:
        second.commit()
    except client.ConflictError:
        second.abort()
        refused.append(name)
        return
    first.begin()
    assert plain(left.root()[name]) == plain(right.root()[name]) == outcome, (name, plain(left.root()[name]))
    merged.append(name)


def plain(value):
    if isinstance(value, Length):
        return value()
    return dict(value) if hasattr(value, 'items') else set(value)


def put(*keys):
    return lambda tree: tree.update({key: 'new' for key in keys})


def drop(*keys):
    return lambda tree: [tree.__delitem__(key) for key in keys]


base = {'d': 1, 'h': 2, 'p': 3, 't': 4}
both('length', Length(10), lambda n: n.change(5), lambda n: n.change(-2), 13)
both('tree inserts', OOBTree(base), put('a', 'z'), put('m'), {**base, 'a': 'new', 'z': 'new', 'm': 'new'})
both('tree deletes', OOBTree(base), drop('h'), drop('p'), {'d': 1, 't': 4})
both('tree insert and delete', OOBTree(base), put('e'), drop('t'), {'d': 1, 'e': 'new', 'h': 2, 'p': 3})
both('integer keys', IOBTree({1: 'x'}), put(2), put(3), {1: 'x', 2: 'new', 3: 'new'})
both('large integer keys', LOBTree({1: 'x'}), put(1 << 40), put(-1 << 40), {1: 'x', 1 << 40: 'new', -1 << 40: 'new'})
both('sets', OOSet('dhpt'), lambda s: s.insert('a'), lambda s: s.remove('t'), set('adhp'))
both('tree sets', OOTreeSet('dhpt'), lambda s: s.insert('a'), lambda s: s.insert('z'), set('adhptz'))
both('same key inserted', OOBTree(base), put('a'), put('a'))
both('same key changed', OOBTree(base), put('d'), put('d'))
both('plain mapping', PersistentMapping(base), put('a'), put('b'))
one.close()
two.close()
client.say(merged=merged, refused=refused)
