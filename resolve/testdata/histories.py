"""Lets transactions of random histories over one tree commit in any order, and checks the tree after each.

    histories.py SEED COUNT

COUNT is how many histories are made. BTrees' own code makes the changes, with nodes of
four, in transactions that began at any earlier state. Conflicts of writes are merged as
ZODB does; a node that had to be current and is not, is asked about: if the answer is
that it has not moved for what is written, the transaction commits.

To standard output go frames of a letter and fields, each with its length in four bytes:
R oid tid data, a revision; X, a new history; Q with a transaction: the oid asked about,
then its writes (oid, base, data) and checks (oid, serial); J the result. The answer to Q
is a byte: 0 if it has not moved.
"""
import importlib
import json
import logging
import random
import struct
import sys

import transaction
import ZODB
from BTrees.check import check
from ZODB import ConflictResolution
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError
from ZODB.POSException import ReadConflictError

from merges import python_merge

KINDS = [('OO', 'BTree'), ('IO', 'BTree'), ('LL', 'TreeSet'), ('OI', 'BTree')]
counts = {'histories': 0, 'commits': 0, 'conflicts': 0, 'reads': 0, 'passed': 0, 'broken': 0, 'python': 0, 'examples': []}


def frame(letter, *fields):
    sys.stdout.buffer.write(letter + b''.join(struct.pack('>I', len(f)) + f for f in fields))


class Storage(MappingStorage):
    """Checks and merges at the vote, with the rule under test."""

    passed = 0

    def tpc_begin(self, transaction, tid=None):
        super().tpc_begin(transaction, tid)
        self.writes, self.checks = {}, {}

    def store(self, oid, serial, data, version, transaction):
        self.writes[oid] = serial, data

    def checkCurrentSerialInTransaction(self, oid, serial, transaction):
        self.checks[oid] = serial

    def tpc_vote(self, transaction):
        resolved = []
        for oid, serial in self.checks.items():
            committed = self._data[oid].maxKey()
            if committed == serial:
                continue
            counts['reads'] += 1
            if not self.unmoved(oid):
                raise ReadConflictError(oid=oid, serials=(committed, serial))
            self.passed += 1
            counts['passed'] += 1
        for oid, (serial, data) in self.writes.items():
            committed = self._data[oid].maxKey() if oid in self._data else serial
            if committed != serial:
                data = python_merge(self._data[oid][serial], self._data[oid][committed], data)
                if data is None:
                    raise ConflictError(oid=oid, serials=(committed, serial))
                resolved.append(oid)
            super().store(oid, committed, data, '', transaction)
        self.stored = dict(self._tdata)
        super().tpc_vote(transaction)
        return resolved

    def tpc_finish(self, transaction, func=lambda tid: None):
        def done(tid):
            for oid, data in self.stored.items():
                frame(b'R', oid, tid, data)
            func(tid)
        return super().tpc_finish(transaction, done)

    def unmoved(self, oid):
        fields = [oid]
        for other, (serial, data) in self.writes.items():
            if other in self._data:
                fields += [b'W', other, serial, data]
        for other, serial in self.checks.items():
            fields += [b'C', other, serial, b'']
        frame(b'Q', struct.pack('>I', len(fields)), *fields)
        sys.stdout.buffer.flush()
        return sys.stdin.buffer.read(1) == b'\0'


class Client:
    def __init__(self, db, rnd, new):
        self.manager = transaction.TransactionManager()
        self.connection = db.open(transaction_manager=self.manager)
        self.rnd, self.new, self.did = rnd, new, None

    def change(self, mapping, deletes):
        """Begin and change, but do not commit yet."""
        self.manager.begin()
        tree = self.connection.root()['tree']
        self.did, self.cleared = {}, False
        state = tree.__getstate__()
        if state is not None and len(state) == 2 and self.rnd.random() < deletes / 20:
            self.cleared = True  # of others' keys too: buckets are dropped unread
            tree.clear()
        for _ in range(self.rnd.choice((1, 1, 1, 2, 3, 8))):
            key = self.new()
            if self.rnd.random() < deletes and len(tree):
                keys = list(tree.keys())
                at = self.rnd.randrange(len(keys))
                for key in keys[at:at + self.rnd.choice((1, 1, 3, 6))]:
                    if mapping:
                        del tree[key]
                    else:
                        tree.remove(key)
                    self.did[key] = None
            elif key not in tree:
                if mapping:
                    tree[key] = 7
                else:
                    tree.add(key)
                self.did[key] = 7

    def commit(self, model):
        did, self.did = self.did, None
        try:
            self.manager.commit()
        except ConflictError:
            self.manager.abort()
            counts['conflicts'] += 1
            return False
        counts['commits'] += 1
        if self.cleared:
            model.clear()
        for key, value in did.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        return True


def history(rnd):
    letters, name = rnd.choice(KINDS)
    cls = getattr(importlib.import_module('BTrees.%sBTree' % letters), letters + name)
    cls.max_leaf_size = cls.max_internal_size = 4
    mapping, growing, last = name == 'BTree', rnd.random() < .2, [0]
    space = rnd.choice((40, 100, 400))

    def new():
        last[0] += 1
        n = last[0] * 3 + rnd.randrange(6) if growing else rnd.randrange(space)
        return '%05d' % n if letters[0] == 'O' else n

    frame(b'X')
    storage = Storage()
    db = ZODB.DB(storage)
    clients = [Client(db, rnd, new) for _ in range(rnd.choice((2, 4, 8)))]
    deletes = rnd.choice((0, .2, .4, .5))
    clients[0].manager.begin()
    clients[0].connection.root()['tree'] = cls()
    clients[0].manager.commit()
    model = {}
    for _ in range(rnd.choice((0, 3, 10, 25))):
        clients[0].change(mapping, 0)
        clients[0].commit(model)
    looker = db.open(transaction_manager=transaction.TransactionManager())
    for _ in range(rnd.choice((12, 30, 60))):
        c = rnd.choice(clients)
        if c.did is None:
            c.change(mapping, deletes)
        elif c.commit(model):
            problem = broken(looker, model, mapping)
            if problem:
                return problem, storage.passed
    return None, storage.passed


def broken(looker, model, mapping):
    looker.transaction_manager.begin()
    tree = looker.root()['tree']
    looker.cacheMinimize()
    try:
        tree._check()
        check(tree)
        if list(tree.keys()) != sorted(model):
            return 'keys differ: %r, %r' % (list(tree.keys()), sorted(model))
        for key in model:
            if key not in tree:
                return 'key %r is not found' % (key,)
    except Exception as error:
        return repr(error)


def main(seed, count):
    ConflictResolution.logger.disabled = True
    logging.disable(logging.CRITICAL)
    rnd = random.Random(seed)
    for i in range(count):
        problem, passed = history(rnd)
        counts['histories'] += 1
        if problem and passed:
            counts['broken'] += 1
            if len(counts['examples']) < 5:
                counts['examples'].append('history %d, %d checks passed: %s' % (i, passed, problem))
        elif problem:
            counts['python'] += 1
            counts['examples'].append('history %d, no check passed: %s' % (i, problem))
    frame(b'J', json.dumps(counts).encode())
    sys.stdout.buffer.flush()


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))
