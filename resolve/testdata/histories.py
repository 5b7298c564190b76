"""Lets transactions of random histories over one tree commit in any order, and checks the tree after each.

    histories.py SEED FIRST COUNT

COUNT is how many histories are made, FIRST the number of the first. BTrees' own code makes the changes, with nodes of
four, in transactions that began at any earlier state; they vote and finish between each
other, as far as the locks of the store let them. The store is in the process that
started this one, which also says how a vote ends; revisions are kept here too.

After each commit the tree is checked (_check, BTrees.check.check) and its keys compared
with those of a model, which takes the effects in the order of the commits. Where a tree
is broken, the same transactions are made again, alone, one after the other: alone, if
that breaks the tree as well; last, if the last of them alone breaks a copy of the tree
that was whole before it. If not, the history counts as python if nothing was let
through in it, and as both if the same events break the tree with Python's rules too.

To standard output go frames of a letter and fields, each with its length in four bytes;
what comes back is told with each:
X rules, a new store, with the rules under test or with Python's: nothing.
V id count fields, a vote of writes (W oid base data) and checks (C oid serial ''): 0 if
it may finish, 1 for a conflict, and how much was let through.
F id, finish: the tid, the number of merges, and the oid, length and data of each.
A id, abort: nothing.
J result.
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
from BTrees.OOBTree import OOBTree
from ZODB.Connection import TransactionMetaData
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

KINDS = [('OO', 'BTree'), ('IO', 'BTree'), ('LL', 'TreeSet'), ('OI', 'BTree')]
counts = dict(histories=0, commits=0, conflicts=0, passed=0, broken=0, alone=0, last=0, python=0, both=0, examples=[])


def frame(letter, *fields):
    sys.stdout.buffer.write(letter + b''.join(struct.pack('>I', len(f)) + f for f in fields))


def heard(n):
    return sys.stdin.buffer.read(n)


class Storage(MappingStorage):
    """A store that is elsewhere, of which the revisions are here too."""

    def __init__(self, rules):
        super().__init__()
        self.passed, self.began, self.votes = 0, {}, 0
        frame(b'X', rules)

    def copy_before(self, other):
        """Take the newest revisions that other had before its last transaction."""
        t = TransactionMetaData()
        self.tpc_begin(t)
        for oid, revisions in other._data.items():
            tids = [tid for tid in revisions if tid < other._ltid]
            if tids:
                self.store(oid, bytes(8), revisions[max(tids)], '', t)
        self.tpc_vote(t)
        self.tpc_finish(t)
        self._oid = other._oid
        return self

    def tpc_begin(self, transaction, tid=None):
        self.votes += 1
        self.began[id(transaction)] = struct.pack('>I', self.votes), {}, {}

    def store(self, oid, serial, data, version, transaction):
        self.began[id(transaction)][1][oid] = serial, data

    def checkCurrentSerialInTransaction(self, oid, serial, transaction):
        self.began[id(transaction)][2][oid] = serial

    def tpc_vote(self, transaction):
        name, writes, checks = self.began[id(transaction)]
        fields = []
        for oid, (serial, data) in writes.items():
            fields += [b'W', oid, serial, data]
        for oid, serial in checks.items():
            fields += [b'C', oid, serial, b'']
        frame(b'V', name, struct.pack('>I', len(fields)), *fields)
        sys.stdout.buffer.flush()
        conflict, passed = heard(2)
        if conflict:
            raise ConflictError('the store says so')
        self.passed += passed
        return ()

    def tpc_finish(self, transaction, func=lambda tid: None):
        name, writes, checks = self.began.pop(id(transaction))
        frame(b'F', name)
        sys.stdout.buffer.flush()
        tid, n = struct.unpack('>8sI', heard(12))
        merged = {}
        for _ in range(n):
            oid, size = struct.unpack('>8sI', heard(12))
            merged[oid] = heard(size)
        with self._lock:
            for oid, (serial, data) in writes.items():
                self._data.setdefault(oid, OOBTree())[tid] = merged.get(oid, data)
            self._ltid = tid
            func(tid)
        self.merged = list(merged)
        return tid

    def tpc_abort(self, transaction):
        name, _, _ = self.began.pop(id(transaction))
        frame(b'A', name)


class Client:
    """A connection, and what it has begun: (operation, key) in turn."""

    def __init__(self, db):
        self.manager = transaction.TransactionManager()
        self.connection = db.open(transaction_manager=self.manager)
        self.did, self.voted = None, False

    def begin(self):
        self.manager.begin()
        self.did = []
        return self.connection.root()['tree']

    def do(self, tree, mapping, op, key):
        """Make one change, if there is something to change."""
        if op == 'clear':
            tree.clear()
        elif op == 'add' and key not in tree:
            tree.update({key: 7} if mapping else [key])
        elif op == 'delete' and key in tree:
            if mapping:
                del tree[key]
            else:
                tree.remove(key)
        else:
            return
        self.did.append((op, key))

    def vote(self):
        txn = self.manager.get()
        try:
            self.connection.tpc_begin(txn)
            self.connection.commit(txn)
            self.connection.tpc_vote(txn)
        except ConflictError:
            self.abort()
            return False
        self.voted = True
        return True

    def abort(self):
        self.connection.tpc_abort(self.manager.get())
        self.manager.abort()
        self.did, self.voted = None, False

    def finish(self, model):
        self.connection.tpc_finish(self.manager.get())
        storage = self.connection.db().storage
        for oid in storage.merged:
            self.connection._cache.invalidate(oid)
        self.manager.abort()
        apply(self.did, model)
        self.did, self.voted = None, False


def apply(did, model):
    """Make the net effect of changes on a set of keys: what is added and deleted again changes nothing."""
    last, turns = {}, {}
    for op, key in did:
        if op == 'clear':
            model.clear()
            turns.clear()
        else:
            last[key], turns[key] = op, turns.get(key, 0) + 1
    for key, n in turns.items():
        if n % 2:
            (model.add if last[key] == 'add' else model.discard)(key)


class History:
    def __init__(self, cls, mapping, rules, clients, copied=None):
        cls.max_leaf_size = cls.max_internal_size = 4
        self.cls, self.mapping, self.model = cls, mapping, set()
        self.storage = Storage(rules)
        if copied:
            self.storage.copy_before(copied)
        self.db = ZODB.DB(self.storage)
        self.clients = [Client(self.db) for _ in range(clients)]
        self.looker = self.db.open(transaction_manager=transaction.TransactionManager())
        self.events, self.committed = [], []
        first = self.clients[0]
        first.manager.begin()
        if copied:
            self.model.update(first.connection.root()['tree'].keys())
        else:
            first.connection.root()['tree'] = cls()
        first.manager.commit()

    def begin(self, n, operations):
        """operations takes the tree, and yields operations and keys."""
        c = self.clients[n]
        tree = c.begin()
        for op, key in operations(tree):
            c.do(tree, self.mapping, op, key)
        self.events.append(('begin', n, c.did))

    def vote(self, n):
        self.events.append(('vote', n, None))
        return self.clients[n].vote()

    def abort(self, n):
        self.events.append(('abort', n, None))
        self.clients[n].abort()

    def finish(self, n):
        """Return what is wrong with the tree then."""
        self.events.append(('finish', n, None))
        self.committed.append(self.clients[n].did)
        self.clients[n].finish(self.model)
        return self.broken()

    def broken(self):
        self.looker.transaction_manager.begin()
        tree = self.looker.root()['tree']
        self.looker.cacheMinimize()
        try:
            tree._check()
            check(tree)
            if list(tree.keys()) != sorted(self.model):
                return 'keys differ: %r, %r' % (list(tree.keys()), sorted(self.model))
            for key in self.model:
                if key not in tree:
                    return 'key %r is not found' % (key,)
        except Exception as error:
            return repr(error)


def again(h, rules, events, copied=None):
    """Make events again, and return what is wrong with the tree in the end."""
    h = History(h.cls, h.mapping, rules, len(h.clients), copied)
    if copied and h.broken():
        return None  # it was not whole before
    for op, n, did in events:
        c = h.clients[n]
        if op == 'begin':
            h.begin(n, lambda tree: did)
        elif op == 'vote':
            h.vote(n)
        elif op == 'abort' and c.voted:
            h.abort(n)
        elif op == 'finish' and c.voted:
            problem = h.finish(n)
            if problem:
                return problem


def alone(h):
    return again(h, b'python', one_by_one(h.committed))


def last(h):
    return again(h, b'python', one_by_one(h.committed[-1:]), h.storage)


def one_by_one(committed):
    return [(op, 0, did) for did in committed for op in ('begin', 'vote', 'finish')]


class Generator:
    """Chooses what happens."""

    def __init__(self, rnd):
        self.rnd = rnd
        letters, name = rnd.choice(KINDS)
        cls = getattr(importlib.import_module('BTrees.%sBTree' % letters), letters + name)
        self.text, self.growing, self.last = letters[0] == 'O', rnd.random() < .2, 0
        self.space = rnd.choice((40, 100, 400, 2000))
        self.deletes = rnd.choice((0, .1, .2, .4, .5))
        self.history = History(cls, name == 'BTree', b'ours', rnd.choice((2, 4, 8)))

    def key(self):
        self.last += 1
        n = self.last * 3 + self.rnd.randrange(6) if self.growing else self.rnd.randrange(self.space)
        return '%05d' % n if self.text else n

    def operations(self, deletes):
        def made(tree):
            state = tree.__getstate__()
            if state is not None and len(state) == 2 and self.rnd.random() < deletes / 20:
                yield 'clear', None  # of others' keys too: buckets are dropped unread
            for _ in range(self.rnd.choice((1, 1, 2, 3, 8))):
                if self.rnd.random() < deletes and len(tree):
                    keys = list(tree.keys())
                    at = self.rnd.randrange(len(keys))
                    for key in keys[at:at + self.rnd.choice((1, 1, 3, 6))]:
                        yield 'delete', key
                else:
                    yield 'add', self.key()
        return made

    def run(self):
        h, rnd = self.history, self.rnd
        for _ in range(rnd.choice((0, 3, 10, 25, 40))):
            h.begin(0, self.operations(0))
            if h.vote(0):
                problem = h.finish(0)
                if problem:
                    return problem
        for _ in range(rnd.choice((12, 30, 60))):
            n = rnd.randrange(len(h.clients))
            c = h.clients[n]
            if c.did is None:
                h.begin(n, self.operations(self.deletes))
                continue
            if not c.voted:
                if not h.vote(n):
                    counts['conflicts'] += 1
                    continue
                if rnd.random() < .2:
                    continue
            if rnd.random() < .02:
                h.abort(n)
                continue
            counts['commits'] += 1
            problem = h.finish(n)
            if problem:
                return problem


def main(seed, first, count):
    logging.disable(logging.CRITICAL)
    for i in range(first, first + count):
        g = Generator(random.Random('%s.%d' % (seed, i)))
        problem = g.run()
        h = g.history
        counts['histories'] += 1
        counts['passed'] += h.storage.passed
        if not problem:
            continue
        if alone(h):
            kind = 'alone'
        elif last(h):
            kind = 'last'
        elif not h.storage.passed:
            kind = 'python'
        elif again(h, b'python', h.events):
            kind = 'both'
        else:
            kind = 'broken'
        counts[kind] += 1
        if len(counts['examples']) < 5 or kind == 'broken':
            counts['examples'].append('%s: history %s.%d, %d let through: %s' % (kind, seed, i, h.storage.passed, problem))
    frame(b'J', json.dumps(counts).encode())
    sys.stdout.buffer.flush()


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
