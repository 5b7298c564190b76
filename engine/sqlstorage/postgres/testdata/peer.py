"""What the tests ask of a real RelStorage: python peer.py COMMAND DSN FORM [ARGUMENT...]

FORM is "preserving" or "free".
"""
import json
import random
import sys
import time

import transaction
from persistent.mapping import PersistentMapping
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB import DB
from ZODB.blob import Blob
from ZODB.POSException import ConflictError, StorageError

COUNTERS = ["c%d" % i for i in range(4)]
ACCOUNTS = ["a%d" % i for i in range(6)]
START = 1_000_000  # a number that stays one of four bytes in the pickle


def open_storage(dsn, form, **options):
    options = Options(keep_history=form == "preserving", **options)
    return RelStorage(PostgreSQLAdapter(dsn=dsn, options=options), options=options)


def create(dsn, form):
    """Open the database, which creates what is missing."""
    open_storage(dsn, form).close()


def setup(dsn, form):
    """Make counters and accounts, and tell their oids."""
    db = DB(open_storage(dsn, form))
    with db.transaction() as conn:
        for name in COUNTERS + ACCOUNTS:
            conn.root()[name] = PersistentMapping(n=START)
    with db.transaction() as conn:
        print(json.dumps({name: int.from_bytes(conn.root()[name]._p_oid, "big") for name in COUNTERS + ACCOUNTS}))
    db.close()


def with_blob(dsn, form, blob_dir):
    """Make a counter and a blob of 3 MB, and tell their oids."""
    db = DB(open_storage(dsn, form, blob_dir=blob_dir))
    with db.transaction() as conn:
        conn.root()["c"] = PersistentMapping(n=START)
        conn.root()["blob"] = Blob(b"relstorage " * 300_000)
        conn.root()["small"] = Blob(b"old")
    with db.transaction() as conn:
        print(json.dumps({name: int.from_bytes(conn.root()[name]._p_oid, "big") for name in ("c", "blob", "small")}))
    db.close()


def read(dsn, form, blob_dir):
    """Tell what is there, and how the last transaction is described."""
    db = DB(open_storage(dsn, form, blob_dir=blob_dir))
    with db.transaction() as conn:
        root = conn.root()
        blobs = {name: root[name].open("r").read().decode() for name in ("blob", "small")}
        described = str(db.undoInfo(0, 1)[0]["description"]) if db.supportsUndo() else ""
        print(json.dumps({"n": root["c"]["n"], "described": described, **blobs}))
    db.close()


def undo(dsn, form, blob_dir):
    """Undo the last transaction."""
    db = DB(open_storage(dsn, form, blob_dir=blob_dir))
    db.undo(db.undoInfo(0, 1)[0]["id"])
    transaction.commit()
    db.close()


def repack(dsn, form, blob_dir):
    """Add an object and pack to now, from scratch."""
    db = DB(open_storage(dsn, form, blob_dir=blob_dir))
    with db.transaction() as conn:
        conn.root()["new"] = PersistentMapping(n=START)
        del conn.root()["small"]
    with db.transaction() as conn:
        print(int.from_bytes(conn.root()["new"]._p_oid, "big"))
    time.sleep(0.01)
    db.pack(time.time())
    db.close()


class Worker:
    """Increments counters and moves money, and looks at everything."""

    def __init__(self, db, seed):
        self.db, self.random = db, random.Random(seed)
        self.done = {name: 0 for name in COUNTERS}  # increments that were acknowledged
        self.maybe = {name: 0 for name in COUNTERS}  # and those that failed in the commit
        self.seen = {name: 0 for name in COUNTERS}
        self.transfers = self.conflicts = self.views = self.lost = 0

    def step(self):
        manager = transaction.TransactionManager()
        manager.begin()
        conn = self.db.open(transaction_manager=manager)
        name = None
        try:
            root = conn.root()
            self.look(root)
            if self.random.random() < 0.5:
                name = self.random.choice(COUNTERS)
                conn.readCurrent(root[self.random.choice(ACCOUNTS)])
                root[name]["n"] += 1
            else:
                a, b = self.random.sample(ACCOUNTS, 2)
                amount = self.random.randrange(1, 100)
                root[a]["n"] -= amount
                root[b]["n"] += amount
            manager.commit()
        except ConflictError:
            self.conflicts += 1
            return
        except Exception as error:
            if isinstance(error, AssertionError) or not self.disconnected(error):
                raise
            self.lost += 1
            if name:
                self.maybe[name] += 1
            return
        finally:
            try:
                manager.abort()
                conn.close()
            except Exception:
                pass
        if name:
            self.done[name] += 1
        else:
            self.transfers += 1

    @staticmethod
    def disconnected(error):
        return isinstance(error, StorageError) or type(error).__module__.startswith(("psycopg2", "relstorage"))

    def look(self, root):
        """One snapshot: the sum is as ever, and no counter has gone back."""
        values = {name: root[name]["n"] for name in COUNTERS + ACCOUNTS}
        total = sum(values[name] for name in ACCOUNTS)
        assert total == START * len(ACCOUNTS), ("the sum of the accounts is %d" % total, values)
        for name in COUNTERS:
            assert values[name] >= self.seen[name], (name, values[name], self.seen[name])
            self.seen[name] = values[name]
        self.views += 1


def linger(finish):
    """Leave others some time between vote and finish, when locks are all that keeps them away."""
    def tpc_finish(self, *args, **kwargs):
        time.sleep(random.random() * 0.05)
        return finish(self, *args, **kwargs)
    return tpc_finish


def work(dsn, form, seconds, seed):
    """Be a worker for a while, and tell what was done."""
    RelStorage.tpc_finish = linger(RelStorage.tpc_finish)
    db = DB(open_storage(dsn, form))
    worker = Worker(db, seed)
    end = time.time() + float(seconds)
    while time.time() < end:
        worker.step()
    print(json.dumps({k: v for k, v in vars(worker).items() if k not in ("db", "random")}))
    db.close()


def pack(dsn, form, times):
    """Pack to now, again and again."""
    from ZODB.serialize import referencesf
    storage = open_storage(dsn, form)
    for _ in range(int(times)):
        storage.pack(time.time(), referencesf)
        time.sleep(0.2)
    storage.close()


if __name__ == "__main__":
    command, dsn, form, *rest = sys.argv[1:]
    globals()[command](dsn, form, *rest)
