"""Counts the objects that a read-only storage has had: beforesection.py ADDRESS."""
import sys

import client

storage = client.storage(sys.argv[1], read_only=True)
client.say(objects=len({r.oid for t in storage.iterator() for r in t}), last=storage.lastTransaction().hex())
storage.close()
