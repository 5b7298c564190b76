"""Says what count.py programs left: counted.py ADDRESS."""
import sys

from BTrees.check import check

import client

db = client.database(sys.argv[1])
root = db.open().root()
check(root['tree'])
root['tree']._check()
keys = list(root['tree'].keys())
status = db.storage.server_status()
client.say(length=root['length'](), keys=len(keys), ordered=keys == sorted(set(keys)),
           resolved=status['conflicts_resolved'], lock=status['lock_time'])
db.close()
