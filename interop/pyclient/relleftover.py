"""Shows what RelStorage does on SQLite after a failed readCurrent: relleftover.py CONF.

A transaction that writes "left" fails, because what it checked has been changed. The next one of the same connection writes
"other" only. Says what is then in "left".
"""
import sys

import transaction
import ZODB.config
from persistent.mapping import PersistentMapping
from ZODB.POSException import ReadConflictError

import client

databases = [ZODB.config.databaseFromURL(sys.argv[1]) for _ in range(2)]  # each with a cache of its own, as two processes have
one, two = [db.open(transaction.TransactionManager()) for db in databases]
for name in ('checked', 'left', 'other'):
    one.root()[name] = PersistentMapping(n=0)
one.transaction_manager.commit()

one.transaction_manager.begin()
one.readCurrent(one.root()['checked'])
one.root()['left']['n'] = 1
two.transaction_manager.begin()
two.root()['checked']['n'] = 1
two.transaction_manager.commit()
try:
    one.transaction_manager.commit()
    raise SystemExit('there is no conflict')
except ReadConflictError:
    one.transaction_manager.abort()

one.transaction_manager.begin()
one.root()['other']['n'] = 1
one.transaction_manager.commit()
two.transaction_manager.begin()
client.say(left=two.root()['left']['n'], other=two.root()['other']['n'])
for db in databases:
    db.close()
