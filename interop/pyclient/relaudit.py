"""Checks the rows of a database in RelStorage's tables, with plain SQL: relaudit.py sqlite:DIRECTORY|postgresql:DSN.

That each has the md5 and the size of its state, that prev_tid is the revision before, and that current_object names the last.
What was packed away may be missing at the beginning of a chain, where prev_tid is 0 then.
"""
import hashlib
import os
import sys

import client

kind, _, place = sys.argv[1].partition(':')
if kind == 'sqlite':
    import sqlite3
    db = sqlite3.connect(os.path.join(place, 'main.sqlite3'))
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
else:
    import psycopg2
    db = psycopg2.connect(place)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
sql = db.cursor()


def rows(statement):
    sql.execute(statement)
    return sql.fetchall()


history = 'transaction' in [name for name, in rows(tables)]
checked = 0
if history:
    last = {}
    for oid, tid, previous, md5, size, state in rows(
            'SELECT zoid, tid, prev_tid, md5, state_size, state FROM object_state ORDER BY zoid, tid'):
        where = 'object %d at %d' % (oid, tid)
        assert size == len(state or b''), '%s: state_size %r' % (where, size)
        want = None if state is None else hashlib.md5(state).hexdigest()
        assert (md5.decode() if isinstance(md5, bytes) else md5) == want, '%s: md5 %r' % (where, md5)
        assert previous == last.get(oid, 0), '%s: prev_tid %d, and the revision before is %d' % (where, previous, last.get(oid, 0))
        last[oid] = tid
        checked += 1
    assert dict(rows('SELECT zoid, tid FROM current_object')) == last, 'current_object is not the last revision of each'
    known = {tid for tid, in rows('SELECT tid FROM "transaction"')}
    assert 0 in known and known >= set(last.values()), 'there are revisions without a transaction'
else:
    for oid, tid, size, state in rows('SELECT zoid, tid, state_size, state FROM object_state'):
        assert size == len(state or b'') and tid > 0, 'object %d at %d: state_size %r' % (oid, tid, size)
        checked += 1
client.say(history=history, rows=checked)
