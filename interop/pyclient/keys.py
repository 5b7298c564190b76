"""Says the keys of the tree in a file, or behind a server: keys.py file:FILE|zeo:ADDRESS."""
import sys

import client

db = client.opened(sys.argv[1], read_only=True)
client.say(keys=sorted(db.open().root()['tree']))
db.close()
