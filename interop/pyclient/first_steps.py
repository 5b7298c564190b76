"""The program of the README, with the port as its argument."""
import sys

import transaction
import ZEO

connection = ZEO.connection(int(sys.argv[1]))
connection.root.greeting = 'hello'
transaction.commit()
print(connection.root.greeting)
