"""Load both pickles on each line of standard input and say whether they are equal.

Equal means that Python writes the same bytes for both values, so that types,
order and sharing count too.
"""
import pickle
import sys


class Thing:
    def __init__(self, *args, **kw):
        self.made_with = args, kw

    def __setstate__(self, state):
        self.state = state


sys.modules["app"] = sys.modules[__name__]
Thing.__module__ = "app"

for line in sys.stdin:
    name, a, b = line.split()
    a, b = (pickle.dumps(pickle.loads(bytes.fromhex(p)), 4) for p in (a, b))
    print(name, "equal" if a == b else "%r is not %r" % (a, b))
