"""Makes random values and compares what became of them: graphs.py SEED COUNT.

Writes COUNT lines, each a pickle in hexadecimal after its kind: "record", the two
pickles of a ZODB data record, of protocol 3 and with one memo, as ZODB's ObjectWriter
makes them; or "pickle", of any protocol. Values share parts and contain themselves.
Then it reads as many lines, what was made of each, and says how many are the same: a
record byte for byte, another pickle if it loads equal, sharing and order included.
"""
import io
import pickle
import random
import struct
import sys

from ZODB._compat import PersistentPickler


class Thing:
    """Without a state of its own: __dict__."""


class Slotted:
    """With arguments and a state that is no dict."""

    def __new__(cls, *args):
        self = super().__new__(cls)
        self.args, self.state = args, ()
        return self

    def __getnewargs__(self):
        return self.args

    def __getstate__(self):
        return self.state

    def __setstate__(self, state):
        self.state = state


class Items(list):
    pass


class Entries(dict):
    pass


class Ref:
    def __init__(self, data):
        self.data = data


sys.modules['app'] = sys.modules[__name__]
for cls in Thing, Slotted, Items, Entries, Ref:
    cls.__module__ = 'app'


class Maker:
    def __init__(self, rnd, refs, new):
        self.rnd, self.refs, self.new = rnd, refs, new
        self.seen = []

    def text(self):
        n = self.rnd.choice((0, 1, 3, 10, 300))
        return ''.join(self.rnd.choice('ab\n\\\x00\x80\xff\u0100\u4e16\ud800\U0001f600') for _ in range(n))

    def whole(self):
        return self.rnd.choice((-1, 0, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, -2 ** 31, -2 ** 31 - 1, 2 ** 63, -2 ** 63,
                                2 ** 200, -2 ** 2047, self.rnd.randrange(-1000, 1000)))

    def flat(self):
        r = self.rnd
        return r.choice((
            lambda: None, lambda: True, lambda: False, self.whole, self.whole, self.text, self.text,
            lambda: r.choice((0.0, -0.0, 1.5, 1e300, float('inf'), float('nan'), r.random())),
            lambda: bytes(r.randrange(256) for _ in range(r.choice((0 if self.new else 1, 1, 5, 300)))),
            lambda: (), lambda: r.choice((Thing, Slotted, Items))))()

    def value(self, depth=0):
        r = self.rnd
        if self.seen and r.random() < .2:
            return r.choice(self.seen)
        if depth > 5 or r.random() < .5:
            v = self.flat()
        else:
            v = r.choice((self.list, self.list, self.dict, self.dict, self.tuple, self.tuple, self.thing, self.slotted,
                          self.items, self.entries, self.other))(depth + 1)
        self.seen.append(v)
        return v

    def some(self, depth):
        n = self.rnd.choice((0, 1, 1, 2, 3, 4, 7)) if self.rnd.random() < .99 else self.rnd.choice((999, 1000, 1001, 2001))
        for _ in range(n):
            yield self.value(depth if n < 9 else 9)

    def list(self, depth):
        v = []
        self.seen.append(v)
        v.extend(self.some(depth))
        return v

    def dict(self, depth):
        v = {}
        self.seen.append(v)
        for x in self.some(depth):
            v[self.rnd.choice((self.text, self.whole))()] = x
        return v

    def tuple(self, depth):
        return tuple(self.some(depth))

    def thing(self, depth):
        v = Thing()
        self.seen.append(v)
        v.__dict__.update({'a%d' % i: x for i, x in enumerate(self.some(depth))})
        return v

    def slotted(self, depth):
        v = Slotted(*(self.flat() for _ in range(self.rnd.randrange(3))))
        self.seen.append(v)
        v.state = self.value(depth)
        return v

    def items(self, depth):
        v = Items()
        self.seen.append(v)
        v.extend(self.some(depth))
        return v

    def entries(self, depth):
        v = Entries()
        self.seen.append(v)
        v.update((self.whole(), x) for x in self.some(depth))
        return v

    def other(self, depth):
        if self.refs:
            oid = struct.pack('>Q', self.rnd.randrange(5))
            return Ref(self.rnd.choice((oid, (oid, Thing), ['w', (oid,)], ['n', ('db', oid)], ['m', ('db', oid, Thing)])))
        if self.new:  # what older protocols name by modules of Python 2
            return self.rnd.choice((lambda: {1, 2}, lambda: frozenset('a'), lambda: complex(1, 2), lambda: bytearray(b'a')))()
        return self.flat()


def record(rnd):
    maker = Maker(rnd, True, True)
    out = io.BytesIO()
    pickler = PersistentPickler(lambda v: v.data if type(v) is Ref else None, out, 3)
    pickler.dump(rnd.choice((Thing, (Slotted, (maker.value(),)))))
    pickler.dump(maker.value())
    return 'record', out.getvalue()


def plain(rnd):
    protocol = rnd.randrange(6)
    if protocol < 2:
        # Without classes: these protocols make instances by functions of Python 2's copy_reg.
        maker = Maker(rnd, False, False)
        maker.thing = maker.slotted = maker.items = maker.entries = maker.list
    else:
        maker = Maker(rnd, False, protocol > 2)
    return 'pickle', pickle.dumps(maker.value(), protocol)


def again(data):
    return pickle.dumps(pickle.loads(data), 4)


def main(seed, count):
    rnd = random.Random(seed)
    made = []
    while len(made) < count:
        try:
            made.append(rnd.choice((record, plain))(rnd))
        except RecursionError:
            continue
    for kind, data in made:
        print(kind, data.hex())
    sys.stdout.flush()
    same, differences = 0, []  # to be printed when all is read: the test does not read while it writes
    for (kind, data), line in zip(made, sys.stdin):
        got = bytes.fromhex(line.strip())
        if data == got or kind == 'pickle' and again(data) == again(got):
            same += 1
        else:
            differences.append('%s differs: %s became %s' % (kind, data.hex(), got.hex()))
    for d in differences:
        print(d)
    print('same', same)


main(sys.argv[1], int(sys.argv[2]))
