"""Writes to a database beside others: mixed.py zeo:ADDRESS[,ADDRESS]|zconfig:CONF|sqlite:CONF setup|look|NAME NAME...

setup makes counters, accounts, and a book for each NAME; look says what they hold. A single NAME works until it is told to
stop, whatever happens to the servers: it increments counters and moves money. In the same transaction it writes into its book
which attempt this is, and how often it has incremented what. So in every snapshot the accounts have the same sum, and each
counter is what all books together say; and a commit whose outcome the client was not told is looked up in the book.

sqlite:CONF is for RelStorage on SQLite, and checks nothing with readCurrent. When such a check fails there, RelStorage 4.3 does
not forget what the transaction was about to write, and writes it with the next one.
"""
import collections
import random
import sys
import threading
import time

import transaction
import ZODB
import ZODB.config
from persistent.mapping import PersistentMapping

import client

COUNTERS = ['counter%d' % i for i in range(4)]
ACCOUNTS = ['account%d' % i for i in range(6)]
MONEY = 1000


def opened(place):
    kind, _, place = place.partition(':')
    if kind == 'zeo':
        return client.database(place)
    return ZODB.config.databaseFromURL(place)


def setup(db, names):
    with db.transaction() as connection:
        root = connection.root()
        for name in COUNTERS:
            root[name] = PersistentMapping(n=0)
        for name in ACCOUNTS:
            root[name] = PersistentMapping(n=MONEY)
        root['books'] = PersistentMapping()
        for name in names:
            root['books'][name] = PersistentMapping(attempt=0, **{counter: 0 for counter in COUNTERS})
    client.say(done=True)


def balance(root):
    """Check that what is there fits together, and return the counters and the books."""
    books = {name: dict(book) for name, book in root['books'].items()}
    money = [root[name]['n'] for name in ACCOUNTS]
    assert sum(money) == MONEY * len(ACCOUNTS), 'the accounts hold %s, in all %d' % (money, sum(money))
    counters = {name: root[name]['n'] for name in COUNTERS}
    booked = {name: sum(book[name] for book in books.values()) for name in COUNTERS}
    assert counters == booked, 'the counters are %s, and the books say %s' % (counters, booked)
    return counters, books


def look(db):
    with db.transaction() as connection:
        counters, _ = balance(connection.root())
        client.say(counters=counters)


class Lingering:
    """Leaves others some time between vote and finish, when locks are all that keeps them away."""

    def __init__(self, manager):
        self.transaction_manager = manager

    def sortKey(self):
        return '~~~'  # votes after all others

    def tpc_vote(self, txn):
        time.sleep(random.random() ** 4 * 0.05)

    def nothing(self, txn):
        pass

    tpc_begin = commit = tpc_finish = tpc_abort = abort = nothing


class Worker:
    def __init__(self, db, name, lost, checks):
        self.name, self.lost, self.checks = name, lost, checks
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        self.attempt = 0  # the last one that was made
        self.acknowledged = 0  # the last one that is known to have been committed
        self.doubts = {}  # attempts of which nobody knows, and the counters that they incremented
        self.done = collections.Counter(dict.fromkeys(COUNTERS, 0))
        self.seen = {}
        self.looks = self.transfers = self.conflicts = self.broken = self.found = self.missed = 0

    def look(self):
        """Look at one snapshot: it fits together, and nothing has gone back."""
        root = self.connection.root()
        counters, books = balance(root)
        now = {**counters, **{name: book['attempt'] for name, book in books.items()}}
        for name, n in self.seen.items():
            assert now[name] >= n, '%s was %d, and is %d' % (name, n, now[name])
        self.seen = now
        self.looks += 1
        book = root['books'][self.name]
        self.settle(book['attempt'])
        assert {name: book[name] for name in COUNTERS} == self.done, 'the book says %s, done is %s' % (dict(book), self.done)
        return root, book

    def settle(self, attempt):
        """Find out of attempts in doubt. Each was made from the same state of the book, so at most one of them was committed."""
        if attempt in self.doubts:
            self.found += 1
            self.committed(attempt, self.doubts[attempt])
        assert attempt == self.acknowledged, 'attempt %d was committed, and %d is there' % (self.acknowledged, attempt)

    def committed(self, attempt, counter):
        self.acknowledged = attempt
        if counter:
            self.done[counter] += 1
        else:
            self.transfers += 1
        self.missed += len(self.doubts.keys() - {attempt})
        self.doubts = {}

    def change(self, root, book):
        """Change something, and return the counter that was incremented, or None."""
        counter = random.choice(COUNTERS) if random.random() < 0.5 else None
        if counter:
            if self.checks:
                self.connection.readCurrent(root[random.choice(ACCOUNTS)])
            root[counter]['n'] += 1
            book[counter] += 1
        else:
            one, two = random.sample(ACCOUNTS, 2)
            amount = random.randrange(100)
            root[one]['n'] -= amount
            root[two]['n'] += amount
        if random.random() < 0.1:
            book['junk'] = PersistentMapping(text='x' * random.randrange(2000))  # the one before is garbage
        book['attempt'] = self.attempt
        return counter

    def step(self):
        tried = False
        try:
            self.manager.begin()
            root, book = self.look()
            if random.random() < 0.2 and not self.doubts:
                return
            self.attempt += 1
            counter = self.change(root, book)
            self.manager.get().join(Lingering(self.manager))
            tried = True
            self.manager.commit()
            self.committed(self.attempt, counter)
        except client.ConflictError:
            self.conflicts += 1
        except self.lost:
            self.broken += 1
            if tried:
                self.doubts[self.attempt] = counter
            time.sleep(0.02)
        except AssertionError:
            self.wrong()
            raise
        finally:
            self.manager.abort()

    def wrong(self):
        """Tell who has seen something wrong, and of which transaction each object was."""
        print(self.name, 'attempt', self.attempt, 'last transaction', self.connection.db().lastTransaction().hex(), file=sys.stderr)
        root = self.connection.root()
        for name, thing in [(name, root[name]) for name in COUNTERS + ACCOUNTS] + list(root['books'].items()):
            print(name, thing._p_oid.hex(), thing._p_serial.hex(), dict(thing), file=sys.stderr)

    def work(self):
        client.say(ready=True)
        client.heard()
        stop = threading.Event()
        threading.Thread(target=lambda: (client.heard(), stop.set()), daemon=True).start()
        while not stop.is_set() or self.doubts:
            self.step()
        client.say(name=self.name, attempts=self.attempt, done=self.done, transfers=self.transfers, looks=self.looks,
                   conflicts=self.conflicts, broken=self.broken, found=self.found, missed=self.missed)


if __name__ == '__main__':
    db = opened(sys.argv[1])
    if sys.argv[2] == 'setup':
        setup(db, sys.argv[3:])
    elif sys.argv[2] == 'look':
        look(db)
    else:
        kind = sys.argv[1].partition(':')[0]
        Worker(db, sys.argv[2], client.LOST if kind == 'zeo' else (), kind != 'sqlite').work()
    db.close()
