"""Says the keys of the tree that a server serves: served.py ADDRESS."""
import sys

import client

db = client.database(sys.argv[1], read_only=True)
tree = db.open().root()['tree']
tree._check()
client.say(keys=sorted(tree))
db.close()
