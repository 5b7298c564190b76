"""Changes what everybody changes, so that states must be merged: count.py ADDRESS NAME TIMES.

A Length merges always: a conflict that reaches this program is an error. Trees merge unless both sides meet in one place.
"""
import sys

import transaction

import client

db = client.database(sys.argv[1])
name, times = sys.argv[2], int(sys.argv[3])
connection = db.open()
root = connection.root()
conflicts = 0
client.say(ready=True)
client.heard()
for i in range(times):
    transaction.begin()
    root['length'].change(1)
    transaction.commit()

    def insert():
        root['tree']['%s-%06d' % (name, i)] = i

    conflicts += client.until_done(insert)
db.close()
client.say(commits=2 * times, conflicts=conflicts)
