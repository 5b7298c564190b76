"""Makes random conflicts with the real BTrees, and compares merges.

    merges.py FAMILY SEED COUNT

FAMILY is that of a BTrees module (OO, LF, fs ...), or "field" for the classes of other
packages.

To standard output go frames: C and three records (base, committed, wanted), each with
its length in four bytes; F asks for the answers to all C since the last F; J is the
result as JSON. An answer is a byte, 0 if merged, else the number of the reason, and
then a record with its length. What Python makes of a conflict is
ZODB.ConflictResolution.tryToResolveConflict's answer.
"""
import datetime
import decimal
import importlib
import io
import json
import logging
import random
import struct
import sys
import uuid

import persistent
import transaction
import ZODB
import ZODB.MappingStorage
from ZODB import ConflictResolution
from ZODB._compat import PersistentPickler
from ZODB._compat import PersistentUnpickler
from ZODB.POSException import ConflictError

try:
    import pytz
except ImportError:
    pytz = None
try:
    from DateTime import DateTime
except ImportError:
    DateTime = None

UNCERTAIN = 5
LEAF = 8  # keys of a bucket, so that splits are frequent


class Ref:
    """A reference to a persistent object: its persistent id."""

    def __init__(self, data):
        self.data = data

    def __repr__(self):
        return 'Ref(%r)' % (self.data,)

    __hash__ = object.__hash__


class Valued(persistent.Persistent):
    """A class with a merge that nobody knows."""

    def _p_resolveConflict(self, old, committed, new):
        return new


def persistent_id(obj):
    return obj.data if type(obj) is Ref else None


def record(cls, state, protocol=3):
    out = io.BytesIO()
    pickler = PersistentPickler(persistent_id, out, protocol)
    pickler.dump(cls)
    pickler.dump(state)
    return out.getvalue()


def load(data):
    def ref(pid):
        return Ref(pid)
    unpickler = PersistentUnpickler(None, ref, io.BytesIO(data))
    return unpickler.load(), unpickler.load()


class Storage:
    """What tryToResolveConflict needs of a storage."""

    def __init__(self, base):
        self.base = base

    def loadSerial(self, oid, serial):
        return self.base

    def _crs_untransform_record_data(self, data):
        return data

    _crs_transform_record_data = _crs_untransform_record_data


def python_merge(base, committed, wanted):
    try:
        return ConflictResolution.tryToResolveConflict(
            Storage(base), b'\0' * 8, b'\0' * 7 + b'\2', b'\0' * 7 + b'\1', wanted, committed)
    except ConflictError:
        return None


OID = [struct.pack('>Q', n) for n in (1, 2, 200, 2 ** 40 + 129)]


def make_ref(rnd, cls=None):
    oid = rnd.choice(OID)
    cls = cls or rnd.choice((Valued, dict))
    return Ref(rnd.choice((
        oid, (oid, cls), (oid, cls), (oid, cls), ['w', (oid,)], ['w', (oid, 'other')], ['n', ('other', oid)],
        ['m', ('other', oid, cls)], [oid], (oid, ('gone', 'Gone')), (oid, None))))


TEXT = 'abcxyz\xe9\u4e16\U0001f600'


def text(rnd):
    return ''.join(rnd.choice(TEXT) for _ in range(rnd.randrange(4)))


def moment(rnd):
    d = datetime.datetime(2020 + rnd.randrange(3), 1 + rnd.randrange(12), 3, rnd.randrange(3), 0, 0, rnd.randrange(2))
    return d.replace(fold=rnd.randrange(2)) if rnd.random() < .1 else d


def zone(rnd):
    zones = [datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=rnd.randrange(2)))]
    if pytz:
        zones += [pytz.UTC, pytz.timezone('Europe/Vienna')]
    return moment(rnd).replace(tzinfo=rnd.choice(zones))


def zope_time(rnd):
    if not DateTime:
        return zone(rnd)
    return DateTime(rnd.randrange(3), rnd.choice(('GMT+1', 'GMT+1', 'UTC')))


KEYS = {
    'text': text,
    'int': lambda r: r.choice((r.randrange(-20, 20), r.randrange(-20, 20), 2 ** 70 + r.randrange(3), -2 ** 63, 2 ** 63)),
    'float': lambda r: r.choice((r.randrange(8) / 4, -0.0, 1e300, float('inf'), -1.5, r.random())),
    'nan': lambda r: r.choice((1.0, 2.0, float('nan'))),
    'number': lambda r: r.choice((True, False, 0, 1, 2, 1.0, 1.5, 2 ** 53, 2.0 ** 53, 2 ** 53 + 1, 2 ** 70, 2.0 ** 70)),
    'bytes': lambda r: bytes(r.randrange(3) for _ in range(r.randrange(4))),
    'tuple': lambda r: (text(r), r.randrange(3), (r.randrange(2),))[:r.randrange(4)],
    'none': lambda r: r.choice((None, text(r), text(r))),
    'mixed': lambda r: r.choice((None, 1, 'a', b'a', 1.5, (1,), 'b', 2, (None,))),
    'ref': make_ref,
    'moment': moment,
    'date': lambda r: moment(r).date(),
    'list': lambda r: [r.randrange(3) for _ in range(r.randrange(3))],
    'zone': zone,
    'zope': zope_time,
    'decimal': lambda r: decimal.Decimal(r.randrange(5)),
    'surrogate': lambda r: r.choice(('\ud800', '\udfff', '\ue000', 'a', '\U00010000', 'z\ud800')),
}
KEY_KINDS = ['text'] * 10 + ['int'] * 5 + list(KEYS)

VALUES = {
    'int': lambda r: r.randrange(4),
    'text': text,
    'none': lambda r: r.choice((None, None, 1)),
    'any number': KEYS['number'],
    'bytes': KEYS['bytes'],
    'tuple': lambda r: (text(r), r.choice((None, r.randrange(2))), [r.randrange(2)], {'a': r.randrange(2)}),
    'list': lambda r: [r.randrange(2), text(r)],
    'dict': lambda r: {text(r): r.randrange(2)},
    'set': lambda r: {r.randrange(3), text(r)},
    'frozenset': lambda r: r.choice((frozenset((r.randrange(3),)), {1, 2}, set())),
    'ref': make_ref,
    'refs': lambda r: (make_ref(r), r.randrange(2)),
    'moment': moment,
    'moments': lambda r: (r.choice((moment(r), None, moment(r).date(), 1)),),
    'zone': zone,
    'zope': zope_time,
    'catalog': lambda r: (text(r), zope_time(r), r.choice((None, zone(r), ('a',)))),
    'decimal': KEYS['decimal'],
    'uuid': lambda r: uuid.UUID(int=r.randrange(3)),
    'class': lambda r: r.choice((dict, list)),
    'classes': lambda r: (r.choice((dict, list)),),
    'nan': KEYS['nan'],
    'mixed': KEYS['mixed'],
    'dicts': lambda r: ({1: r.choice((1, True, 1.0, 2)), 'a': (None,), None: b''},),
}
SHARED = ['one', 'list']
VALUES['shared'] = lambda r: r.choice((SHARED, (SHARED, SHARED), SHARED))
VALUE_KINDS = ['int'] * 6 + ['text'] * 6 + ['ref'] * 6 + list(VALUES)


def ints(low, high):
    edges = (low, high, 0, 1, low + 1, high - 1)

    def make(rnd):
        if rnd.random() < .1:
            return rnd.choice(edges)
        return max(low, rnd.randrange(-12, 40))
    return make


NATIVE = {
    'I': ints(-2 ** 31, 2 ** 31 - 1), 'L': ints(-2 ** 63, 2 ** 63 - 1), 'U': ints(0, 2 ** 32 - 1), 'Q': ints(0, 2 ** 64 - 1),
    'F': lambda r: r.choice((r.randrange(4), r.random(), 0.1, 1e38, -0.0, float('inf'), float('nan'), 16777217)),
    'f': lambda r: bytes((r.randrange(4), r.randrange(4))),
    's': lambda r: bytes(5) + bytes((r.randrange(3),)),
}


class Maker:
    """Makes keys and values of one case."""

    def __init__(self, rnd, family):
        key, value = family[0], family[1]
        self.key = NATIVE.get(key) or KEYS[rnd.choice(KEY_KINDS)]
        self.value = NATIVE.get(value) or VALUES[rnd.choice(VALUE_KINDS)]
        self.rnd = rnd
        self.pool = [self.key(rnd) for _ in range(rnd.choice((2, 4, 8, 8, 16, 30)))]

    def a_key(self):
        return self.rnd.choice(self.pool) if self.rnd.random() < .9 else self.key(self.rnd)

    def a_value(self):
        return self.value(self.rnd)


def change(rnd, obj, maker, mapping, times):
    """Does what an application does. What cannot be compared stays as it is."""
    for _ in range(times):
        key = maker.a_key()
        try:
            if rnd.random() < .35 and len(obj):
                gone = rnd.choice(list(obj.keys()))
                if mapping:
                    del obj[gone]
                else:
                    obj.remove(gone)
            elif mapping:
                obj[key] = maker.a_value()
            else:
                obj.add(key)
        except (TypeError, KeyError, ValueError):
            continue


def copy(obj):
    new = type(obj)()
    new.__setstate__(obj.__getstate__())
    return new


def insert_only(rnd, obj, maker, mapping):
    for _ in range(rnd.randrange(1, 3)):
        key = maker.key(rnd)
        try:
            if key not in obj:
                if mapping:
                    obj[key] = maker.a_value()
                else:
                    obj.add(key)
        except (TypeError, ValueError):
            continue


def driven(rnd, family, cls, mapping):
    """Three states of an object to which things were done by its methods."""
    maker = Maker(rnd, family)
    base = cls()
    change(rnd, base, maker, mapping, rnd.choice((0, 1, 3, 6, 6, 10)))
    states = [base]
    for _ in range(2):
        obj = copy(base)
        if rnd.random() < .4:
            insert_only(rnd, obj, maker, mapping)
        else:
            change(rnd, obj, maker, mapping, rnd.choice((1, 1, 2, 3)))
        states.append(obj)
    return [s.__getstate__() for s in states]


def arbitrary(rnd, family, mapping):
    """Three states of a bucket as a pickle could have them, in any order."""
    maker = Maker(rnd, family)
    base = [(maker.a_key(), maker.a_value()) for _ in range(rnd.randrange(5))]
    all = [base]
    for _ in range(2):
        items = [i for i in base if rnd.random() < .9]
        items = [(k, maker.a_value()) if rnd.random() < .1 else (k, v) for k, v in items]
        for _ in range(rnd.randrange(2)):
            items.insert(rnd.randrange(len(items) + 1), (maker.a_key(), maker.a_value()))
        all.append(items)
    return [(tuple(x for pair in items for x in pair) if mapping else tuple(k for k, _ in items),) for items in all]


def with_next(rnd, states, cls):
    """Gives bucket states a next bucket; mostly the same one."""
    oid = rnd.choice(OID)
    data = rnd.choice(((oid, cls), (oid, cls), oid, ['w', (oid,)]))
    result = []
    for state in states:
        if rnd.random() < .95:
            result.append((state[0], Ref(data)))
        else:
            result.append(rnd.choice((state, (state[0], make_ref(rnd, cls)), (state[0], Ref((oid, cls))))))
    return result


class History(ZODB.MappingStorage.MappingStorage):
    """Notes the conflicts of a database."""

    def store(self, oid, serial, data, version, transaction):
        if self._data.get(oid):
            committed = self._data[oid].maxKey()
            if committed != serial and serial in self._data[oid]:
                self.conflicts.append((self._data[oid][serial], self._data[oid][committed], data))
        return super().store(oid, serial, data, version, transaction)


def history(rnd, family, tree, mapping):
    """The conflicts of two clients of a database, with buckets and splits."""
    maker = Maker(rnd, family)
    storage = History()
    storage.conflicts = []
    db = ZODB.DB(storage)
    managers = [transaction.TransactionManager() for _ in range(2)]
    clients = [db.open(transaction_manager=m) for m in managers]
    clients[0].root()['tree'] = tree()
    try:
        change(rnd, clients[0].root()['tree'], maker, mapping, rnd.choice((2, 20, 60)))
        managers[0].commit()
        for _ in range(10):
            for c, m in zip(clients, managers):
                m.begin()
                change(rnd, c.root()['tree'], maker, mapping, rnd.randrange(1, 4))
            for m in managers:
                try:
                    m.commit()
                except ConflictError:
                    m.abort()
    except (TypeError, ValueError, AttributeError):
        pass  # what cannot be stored
    for c, m in zip(clients, managers):
        m.abort()
        c.close()
    db.close()
    return storage.conflicts


def trees(family, count, rnd):
    """Yields conflicts of a family of BTrees."""
    module = importlib.import_module('BTrees.%sBTree' % family)
    classes = [(getattr(module, family + n), m, t) for n, m, t in (
        ('Bucket', True, False), ('Set', False, False), ('BTree', True, True), ('TreeSet', False, True))]
    for cls, _, tree in classes:
        if tree:
            cls.max_leaf_size = cls.max_internal_size = LEAF
    pending = []
    for _ in range(count):
        protocol = 3 if rnd.random() < .9 else rnd.choice((1, 2))
        cls, mapping, tree = rnd.choice(classes)
        if not pending and rnd.random() < .002 and tree:
            pending = history(rnd, family, cls, mapping)
        if pending and rnd.random() < .5:
            yield pending.pop()
            continue
        if rnd.random() < .8:
            states = driven(rnd, family, cls, mapping)
            if tree:
                if any(s is not None and len(s) > 1 for s in states):
                    states = [rooted(s) for s in states]
                yield tuple(record(cls, s, protocol) for s in states)
                continue
        else:
            states = arbitrary(rnd, family, mapping)
            if rnd.random() < .05:
                states = [(s[0] + (rnd.choice((None, True, 1.5, 2 ** 40, 2 ** 65, -1, 'a')),) * 2,) for s in states]
        if rnd.random() < .4:
            states = with_next(rnd, states, cls)
        if tree:
            states = [s if s is None else ((s,),) for s in states]
            states = [None if rnd.random() < .02 else s for s in states]
        yield tuple(record(cls, s, protocol) for s in states)


def rooted(state):
    """The state of a tree with buckets, as if they had been stored."""
    if state is None or len(state) == 1:
        return state
    children = tuple(Ref((OID[0], Valued)) if isinstance(c, persistent.Persistent) else c for c in state[0])
    return children, Ref((OID[0], Valued))


def field(count, rnd):
    """Yields conflicts of the classes that other packages define a merge for."""
    makers = []
    number = (lambda r: r.choice((r.randrange(-5, 50), r.randrange(5), 1.5, 2 ** 64, True, 0)))
    whole = (lambda r: r.randrange(-5, 50))

    def add(module, name, make):
        try:
            cls = getattr(importlib.import_module(module), name)
        except ImportError:
            missing.add(module + '.' + name)
            return
        makers.append((cls, make))

    def states(make):
        return lambda r: [make(r) for _ in range(3)]

    for m in (number, whole, lambda r: r.choice((None, 'a', 1, 0.5, (), {}))):
        add('BTrees.Length', 'Length', states(m))
        for name in ('NumericMaximum', 'NumericMinimum', 'MergingCounter'):
            add('nti.zodb.minmax', name, states(m))
        add('Products.Transience.Transience', 'Increaser', states(m))
    for name in ('Maximum', 'Minimum'):
        for m in (number, whole, text, KEYS['tuple'], KEYS['mixed'], moment, VALUES['none'], KEYS['decimal'], KEYS['nan']):
            add('zope.minmax._minmax', name, states(m))
    for name in ('Queue', 'BucketQueue', 'CompositeQueue'):
        add('zc.queue._queue', name, queue)
    add('Products.Transience.Transience', 'Length2', states(lambda r: {
        'value': number(r), 'floor': whole(r), 'ceiling': number(r), 'more': None}))
    add('Products.Transience.TransientObject', 'TransientObject', session)
    for _ in range(count):
        cls, make = rnd.choice(makers)
        yield tuple(record(cls, s) for s in make(rnd))


def queue(rnd):
    item = rnd.choice((
        text, whole_number, lambda r: Ref((r.choice(OID), Valued)), make_ref, KEYS['tuple'], KEYS['mixed'], KEYS['list'],
        lambda r: r.choice((Ref(OID[0]), 'a', 1, None)), KEYS['number'], KEYS['decimal']))
    base = [item(rnd) for _ in range(rnd.randrange(5))]
    result = []
    for _ in range(3):
        state = {'_data': tuple(base), 'compositeSize': 15 if rnd.random() < .97 else rnd.randrange(3), 'subfactory': Valued}
        if rnd.random() < .03:
            del state[rnd.choice(list(state))]
        result.append(state)
    for state in result[1:]:
        items = [i for i in base if rnd.random() < .8] + [item(rnd) for _ in range(rnd.randrange(3))]
        if rnd.random() < .1:
            rnd.shuffle(items)
        if '_data' in state:
            state['_data'] = tuple(items)
    return result


def whole_number(rnd):
    return rnd.randrange(40)


def session(rnd):
    def state():
        s = {'token': 't', 'id': 'i', '_created': 1.5, '_container': {'k': rnd.randrange(9)}}
        for name in ('_last_modified', '_last_accessed'):
            if rnd.random() < .8:
                s[name] = rnd.choice((0, 0, 1, 1.5, 2, 3.25, None))
        if rnd.random() < .1:
            s['_invalid'] = None
        if rnd.random() < .1:
            s[rnd.choice(('token', 'id', '_created'))] = 'x'
        return s
    return [state() for _ in range(3)]


missing = set()


class Exchange:
    """Sends conflicts and compares the answers."""

    BATCH = 256

    def __init__(self):
        self.cases = []
        self.out, self.inp = sys.stdout.buffer, sys.stdin.buffer
        self.result = {
            'cases': 0, 'merged': 0, 'refused': 0, 'identical': 0, 'uncertain': 0, 'differences': 0, 'examples': [], 'reasons': {}}

    def case(self, records):
        self.cases.append(records)
        self.out.write(b'C' + b''.join(struct.pack('>I', len(r)) + r for r in records))
        if len(self.cases) == self.BATCH:
            self.flush()

    def flush(self):
        self.out.write(b'F')
        self.out.flush()
        for records in self.cases:
            wanted = python_merge(*records)
            reason, size = struct.unpack('>BI', self.inp.read(5))
            self.compare(records, wanted, reason, self.inp.read(size))
        self.cases = []

    def compare(self, records, wanted, reason, got):
        r = self.result
        r['cases'] += 1
        r['reasons'][reason] = r['reasons'].get(reason, 0) + 1
        if wanted is None and reason:
            r['refused'] += 1
        elif wanted is None or reason:
            if reason == UNCERTAIN:
                r['uncertain'] += 1
                return
            self.differ('merged by %s only' % ('Python' if reason else 'Go'), records, reason, wanted or got)
        elif wanted == got:
            r['merged'] += 1
            r['identical'] += 1
        elif equal(wanted, got):
            r['merged'] += 1
        else:
            self.differ('Python made %r' % (shown(wanted),), records, reason, got)

    def differ(self, what, records, reason, got):
        r = self.result
        r['differences'] += 1
        if len(r['examples']) < 5:
            r['examples'].append('%s; reason %d; of %s' % (
                what, reason, '\n    '.join(repr(shown(x)) for x in records + (got,))))

    def end(self):
        self.flush()
        self.result['missing'] = sorted(missing)
        data = json.dumps(self.result).encode()
        self.out.write(b'J' + struct.pack('>I', len(data)) + data)
        self.out.flush()


def equal(a, b):
    """Whether two records load as the same, types and order included."""
    return repr(canonical(load(a))) == repr(canonical(load(b)))


def canonical(v):
    """Sets have no order, and a fold is not in datetime's repr."""
    if isinstance(v, (set, frozenset)):
        return type(v).__name__, sorted(map(repr, v))
    if isinstance(v, tuple):
        return tuple(map(canonical, v))
    if isinstance(v, list):
        return list(map(canonical, v))
    if isinstance(v, dict):
        return {k: canonical(x) for k, x in v.items()}
    return v


def shown(data):
    try:
        return load(data)
    except Exception as error:
        return '%r: %s' % (error, data.hex())


def main(family, seed, count):
    ConflictResolution.logger.disabled = True
    logging.disable(logging.CRITICAL)
    rnd = random.Random('%s %s' % (family, seed))
    exchange = Exchange()
    for records in field(count, rnd) if family == 'field' else trees(family, count, rnd):
        exchange.case(records)
    exchange.end()


if __name__ == '__main__':
    sys.modules['merges'] = sys.modules['__main__']
    for named in (Valued, Ref):
        named.__module__ = 'merges'
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
