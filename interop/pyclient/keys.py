"""Opens a file with Python's FileStorage and says the keys of its tree: keys.py FILE."""
import sys

from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

import client

db = DB(FileStorage(sys.argv[1], read_only=True))
client.say(keys=sorted(db.open().root()['tree']))
db.close()
