"""Makes the accounts for bank.py, and the tree for writer.py: accounts.py ADDRESS."""
import sys

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping

import client

db = client.database(sys.argv[1])
root = db.open().root()
root['tree'] = OOBTree()
root['moves'] = PersistentMapping(value=0)
for i in range(8):
    root['account%d' % i] = PersistentMapping(value=100)
transaction.commit()
db.close()
client.say(done=True)
