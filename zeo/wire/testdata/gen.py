"""Write messages.txt: ZEO messages as the Python packages write them.

    python gen.py > messages.txt

One line for each message and encoding: the encoding's letter, a name, and the
frame's contents in hexadecimal. Needs the packages ZEO and ZODB.
ZopeUndo is not needed: a class of that name and with its attributes stands in.
"""
import sys
import types

import ZODB.POSException as E
from ZEO.asyncio.marshal import encoder, reduce_exception


class Prefix:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


Prefix.__module__ = "ZopeUndo.Prefix"
sys.modules["ZopeUndo"] = types.ModuleType("ZopeUndo")
sys.modules["ZopeUndo.Prefix"] = module = types.ModuleType("ZopeUndo.Prefix")
module.Prefix = Prefix

oid, tid, nxt = (bytes([0] * 7 + [7]), bytes(range(8)), bytes(range(1, 9)))
data = bytes(range(256)) * 4
txn = 140234567890123
user = b"/ j\xc3\xbcrg"


def call(n, name, *args):
    return (n, False, name, args)


def oneway(name, *args):
    return (0, True, name, args)


def reply(n, result):
    return (n, 0, ".reply", result)


def error(n, exc):
    return (n, 2, ".reply", reduce_exception(exc))


messages = {
    "load": call((oid, tid), "loadBefore", oid, tid),
    "load-int": call(70000, "loadBefore", oid, tid),
    "register": call(1, "register", "1", False),
    "ping": call(2, "ping"),
    "begin": oneway("tpc_begin", txn, user, b"a note", {}, None, " "),
    "begin-ext": oneway("tpc_begin", 5, b"", b"", {"request_type": "view", "n": -3},
                        None, " "),
    "begin-one": oneway("tpc_begin", 5, b"", b"", {"a": 1}, tid, "p"),
    "begin-deep": oneway("tpc_begin", 5, b"", b"", {"a": [1, {"b": 2.5}]}, None, " "),
    "store": oneway("storea", oid, tid, data, txn),
    "store-small": oneway("storea", oid, bytes(8), b"x", 7),
    "check": oneway("checkCurrentSerialInTransaction", oid, tid, txn),
    "restore": oneway("restorea", oid, tid, None, None, 5),
    "vote": call(3, "vote", txn),
    "vote-small": call(3, "vote", 65536),
    "finish": call(300, "tpc_finish", txn),
    "abort": call(4, "tpc_abort", -5),
    "gc": oneway("iterator_gc", [1, 2, 3]),
    "pack": call(5, "pack", 1234567890.25, True),
    "new-oids": call(6, "new_oids", 100),
    "history-none": call(7, "history", None, None),
    "undo-spec": call(8, "undoInfo", 0, -20, {"user_name": "/ me"}),
    "heartbeat": (-1, 0, ".reply", None),
    "reply-none": reply(2, None),
    "reply-load": reply((oid, tid), (data, tid, nxt)),
    "reply-load-current": reply(9, (b"abc", tid, None)),
    "reply-data": reply(9, data),
    "reply-tid": reply(300, tid),
    "reply-empty-list": reply(3, []),
    "reply-oids-1": reply(3, [oid]),
    "reply-oids-2": reply(3, [oid, nxt]),
    "reply-oids-1001": reply(3, [i.to_bytes(8, "big") for i in range(1001)]),
    "reply-conflicts": reply(3, [{"oid": oid, "serials": (tid, nxt), "data": data}]),
    "reply-info": reply(1, {"length": 3, "size": 2**33, "name": "Data.fs",
                            "supportsUndo": True, "interfaces": (("a", "b"),)}),
    "reply-tree": reply(4, [0, 255, 256, 65535, 65536, -1, -128, -129, 2**31 - 1,
                            2**31, -2**31, -2**31 - 1, 2**63 - 1, -2**63, 1.5, True,
                            None, "", b"", "\u00fc\U0001f600", (), (1,), (1, 2),
                            (1, 2, 3), (1, 2, 3, 4), [], {}, {1: 2}, "x" * 300]),
    "invalidate": oneway("invalidateTransaction", tid, [oid]),
    "invalidate-2": oneway("invalidateTransaction", tid, [oid, nxt]),
    "info": oneway("info", {"length": 70000, "size": 2**40}),
    "blob-chunk": oneway("receiveBlobChunk", oid, tid, data),
    "error-poskey": error(1, E.POSKeyError(oid)),
    "error-conflict": error(1, E.ConflictError(oid=oid, serials=(nxt, tid))),
    "error-read-conflict": error(1, E.ReadConflictError(oid=oid, serials=(nxt, tid))),
    "error-read-only": error(1, E.ReadOnlyError()),
    "error-txn": error(1, E.StorageTransactionError("vote: the transaction is voted")),
    "error-undo": error(1, E.UndoError("no such transaction")),
    "error-undos": (1, 2, ".reply", ("ZODB.POSException.MultipleUndoErrors",
                                     {"_errs": [(oid, "in the way")]})),
    "error-key": error(1, KeyError(5)),
    "error-type": error(1, TypeError("bad")),
}
pickle_only = {
    "undo-prefix": call(8, "undoInfo", 0, -20, {
        "user_name": Prefix(length=2, path=["", "site"])}),
    "undo-prefix-old": call(8, "undoInfo", 0, -20, {
        "user_name": Prefix(value=(5, "/site"))}),
    "begin-set": oneway("tpc_begin", 5, b"", b"", {"s": {1}}, None, " "),
    "big": reply(1, 2**70),
}

for letter, extra in (("Z", pickle_only), ("M", {})):
    encode = encoder(letter.encode(), True)
    for name, parts in {**messages, **extra}.items():
        print(letter, name, encode(*parts).hex())
