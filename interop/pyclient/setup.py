"""Makes the objects that the other programs change: setup.py ADDRESS."""
import sys

import transaction
from BTrees.IOBTree import IOBTree
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping

import client

db = client.database(sys.argv[1])
connection = db.open()
root = connection.root()
root['length'] = Length()
root['tree'] = OOBTree()
root['numbers'] = IOBTree()
root['left'], root['right'] = PersistentMapping(value=0), PersistentMapping(value=0)
transaction.commit()
db.close()
client.say(done=True)
