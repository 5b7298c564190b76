"""Write records.txt: data records as ZODB writes them, and pickles of every protocol.

    python gen.py > records.txt

Lines of the first kind:   record NAME HEX CLASS REFERENCE,...
Lines of the second kind:  pickle NAME.PROTOCOL HEX
Lines of the third kind:   foreign NAME HEX CLASS REFERENCE,...

A record is one that today's ZODB wrote, a foreign one is of a form that older
versions wrote. The class is what ZODB.utils.get_pickle_metadata says, and the
references are those of ZODB.serialize.referencesf, each in hexadecimal. The
pickles with one NAME are of one value. Needs ZODB, BTrees and persistent.
"""
import collections
import datetime
import decimal
import enum
import io
import pickle
import struct
import sys
import types

import transaction
import ZODB
from BTrees.Length import Length
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.MappingStorage import MappingStorage
from ZODB.serialize import referencesf
from ZODB.utils import get_pickle_metadata

app = types.ModuleType("app")
sys.modules["app"] = app


def ours(cls):
    cls.__module__ = "app"
    cls.__qualname__ = cls.__name__
    setattr(app, cls.__name__, cls)
    return cls


@ours
class Thing(Persistent):
    def __init__(self, **kw):
        self.__dict__.update(kw)


@ours
class NewArgs(Persistent):
    def __new__(cls, n):
        self = Persistent.__new__(cls)
        self.n = n
        return self

    def __getnewargs__(self):
        return (self.n,)


@ours
class State(Persistent):
    def __getstate__(self):
        return ("a state", [1, 2], None)

    def __setstate__(self, state):
        pass


@ours
class Plain:
    def __init__(self, **kw):
        self.__dict__.update(kw)


@ours
class NewArgsEx:
    def __new__(cls, *args, **kw):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        return (1, 2), {"key": "value"}


@ours
class ListKind(list):
    pass


@ours
class DictKind(dict):
    pass


@ours
class Colour(enum.Enum):
    RED = 1


Point = ours(collections.namedtuple("Point", "x y"))


def btree(family, n):
    mod = __import__("BTrees." + family + "BTree", fromlist=["*"])
    tree = getattr(mod, family + "BTree")()
    for i in range(n):
        key = "k%05d" % i if family[0] == "O" else i
        if family == "fs":
            key = struct.pack(">H", i)
        value = {"O": "v%d" % i, "F": i / 2, "s": struct.pack(">Q", i)[2:]}.get(family[1], i)
        tree[key] = value
    return tree


def treeset(family, n):
    mod = __import__("BTrees." + family + "BTree", fromlist=["*"])
    return getattr(mod, family + "TreeSet")("k%05d" % i if family[0] == "O" else i for i in range(n))


def sizes():
    for n in (0, 1, 2, 255, 256, 999, 1000, 1001, 1002, 2000, 2001):
        yield "list%d" % n, list(range(n))
        yield "dict%d" % n, {i: None for i in range(n)}
        yield "listkind%d" % n, ListKind(range(n))
        yield "dictkind%d" % n, DictKind((i, None) for i in range(n))


def cyclic():
    rows = []
    rows.append(rows)
    loop = ([], {})
    loop[0].append(loop)
    loop[1]["me"] = loop
    long = ([], 1, 2, 3, 4)
    long[0].append(long)
    plain = Plain()
    plain.me = plain
    listkind = ListKind()
    listkind.append(listkind)
    return {"rows": rows, "loop": loop, "long": long, "plain": plain, "listkind": listkind}


def shared():
    text, data, pair = "some text", b"some bytes", (1, "two")
    sub = {"text": text}
    return [text, data, pair, sub, text, data, pair, sub, "".join(["some", " text"])]


def plain_values():
    return {
        "none": None, "bools": [True, False], "floats": [0.0, -1.5, 1e300, float("inf"), 5e-324],
        "ints": [0, 1, -1, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -2**31, -2**31 - 1,
                 2**63 - 1, 2**63, -2**63, -2**63 - 1, 2**64, -2**127, -2**128, 2**2100, -2**2100],
        "text": ["", "a", "\u00fc", "\u20ac", "\U0001f600", "line\nbreak \\ \\u0041", "x" * 300, "\x00\x7f"],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((),)],
        "nested": {"a": [{"b": ({"c": []},)}]}, "keys": {1: 2, (1, 2): 3, None: 4, 2.5: 5, "x": 6},
        "shared": shared()[:3] + shared()[4:7], "rows": cyclic()["rows"], "loop": cyclic()["loop"],
        "long": cyclic()["long"],
    }


def main():
    databases = {}
    db = ZODB.DB(MappingStorage("main"), databases=databases, database_name="main")
    ZODB.DB(MappingStorage("other"), databases=databases, database_name="other")
    conn = db.open()
    root, other = conn.root(), conn.get_connection("other").root()
    other["far"] = far = Thing(a=1)
    transaction.commit()

    root["near"] = near = Thing(name="near")
    root["empty"] = Thing()
    root["thing"] = Thing(near=near, again=near, list=[near, (near,)], far=far, text="\u00fc")
    root["weak"] = Thing(weak=WeakRef(near), again=WeakRef(near))
    root["farweak"] = Thing(weak=WeakRef(far))
    root["mapping"] = PersistentMapping({"c": PersistentMapping, "near": near})
    root["plist"] = PersistentList([near, 1, "x"])
    root["newargs"] = n = NewArgs(5)
    root["tonewargs"] = Thing(n=n)
    root["state"] = State()
    root["length"] = Length(2**70)
    for family in ("OO", "IO", "OI", "II", "LO", "OL", "LL", "LF", "IF", "fs", "QQ", "OQ"):
        root[family + "small"] = btree(family, 5)
        root[family] = btree(family, 70)
    root["OOrefs"] = tree = btree("OO", 0)
    for i in range(40):
        tree["k%d" % i] = Thing(i=i)
    for family in ("OO", "LL", "II"):
        root[family + "set"] = treeset(family, 250)
    root["values"] = Thing(
        when=datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        day=datetime.date(2020, 1, 2), delta=datetime.timedelta(1, 2), number=decimal.Decimal("1.50"),
        colour=Colour.RED, point=Point(1, 2), plain=Plain(a=1, b=[near]), ex=NewArgsEx(), set={1, 2},
        frozen=frozenset([1]), array=bytearray(b"abc"), complex=1j, range=range(3), slice=Ellipsis,
        data=b"x" * 300, short=b"x", none=b"", cls=Thing, func=len)
    for name, value in plain_values().items():
        root["v-" + name] = Thing(v=value)
    for name, value in cyclic().items():
        root["c-" + name] = Thing(v=value)
    for name, value in sizes():
        root["s-" + name] = Thing(v=value)
    root["shared"] = Thing(v=shared())
    transaction.commit()

    for t in db.storage.iterator():
        for r in t:
            show("record", "r%d" % int.from_bytes(r.oid, "big"), r.data)

    for name, value in plain_values().items():
        for proto in range(6):
            print("pickle", "%s.%d" % (name, proto), pickle.dumps(value, proto).hex())

    for name, data in foreign():
        show("foreign", name, data)


def foreign():
    """Forms that are not written any more, put together by hand."""
    oid = bytes(range(1, 9))
    ref2 = b"(U\x08" + oid + b"q\x01capp\nThing\nq\x02tQ"
    ref3 = b"(C\x08" + oid + b"q\x01capp\nThing\nq\x02tQ"
    state = lambda ref: b"}q\x05X\x01\x00\x00\x00aq\x06" + ref + b"s."
    yield "py2", b"(capp\nThing\nq\x01Ntq\x02." + b"}q\x03U\x01a" + ref2 + b"s."
    yield "py2-names", b"((U\x03appq\x01U\x05Thingq\x02tNtq\x03." + b"}q\x04U\x01a" + ref2 + b"s."
    yield "py2-args", b"\x80\x02(capp\nThing\nq\x01(K\x05ttq\x02." + b"\x80\x02}q\x03U\x01a" + ref2 + b"s."
    yield "bare", b"\x80\x03capp\nThing\nq\x00." + b"\x80\x03" + state(b"C\x08" + oid + b"Q")
    yield "bare-py2", b"capp\nThing\nq\x00." + state(b"U\x08" + oid + b"Q")
    yield "text-oid", b"capp\nThing\nq\x00." + state(b"X\x08\x00\x00\x00" + bytes(8) + b"Q")
    yield "old-weak", b"\x80\x03capp\nThing\nq\x00." + b"\x80\x03" + state(b"]C\x08" + oid + b"aQ")
    yield "list-one", b"\x80\x03capp\nThing\nq\x00." + b"\x80\x03" + state(b"(C\x08" + oid + b"lQ")
    yield "popped", b"\x80\x03capp\nThing\nq\x00." + b"\x80\x03" + state(b"NN0(NN10" + ref3)
    yield "dup", b"\x80\x03capp\nThing\nq\x00." + b"\x80\x03" + state(b"C\x08" + oid + b"2\x86Q")
    yield "put-text", b"\x80\x03capp\nThing\np0\n." + b"\x80\x03" + state(b"C\x08" + oid + b"p900\n0g900\nQ")
    yield "trailing", b"\x80\x03capp\nThing\nq\x00." + b"\x80\x03" + state(ref3) + b"trailing"
    for proto in (0, 1, 2):
        yield "protocol%d" % proto, by_id({"a": oid, "b": (oid, app.Thing), "c": ["w", (oid,)]}, proto)
    for proto in (4, 5):
        yield "protocol%d" % proto, by_id(
            {"a": oid, "b": (oid, app.Thing), "c": ["n", ("other", oid)]}, proto)


def by_id(ids, proto):
    """A record that is a list of references with the given ids."""
    class Pickler(pickle._Pickler):
        def persistent_id(self, obj):
            return ids[obj.key] if isinstance(obj, Key) else None

    class Key:
        def __init__(self, key):
            self.key = key

        def __hash__(self):
            return 1

    class Early(Pickler):
        def save_pers(self, pid):
            self.save(pid, save_persistent_id=False)
            self.write(b"Q")

    out = io.BytesIO()
    pickler = Early(out, proto)
    pickler.dump(app.Thing)
    pickler.dump([Key(k) for k in ids])
    return out.getvalue()


def show(kind, name, data):
    try:
        refs = ",".join(r.hex() for r in referencesf(data)) or "-"
    except Exception:
        refs = "?"
    try:
        cls = ".".join(get_pickle_metadata(data))
    except Exception:
        cls = "?"
    print(kind, name, data.hex(), cls if " " not in cls else "?", refs)


main()
