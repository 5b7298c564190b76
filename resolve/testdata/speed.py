"""Says how long Python takes to merge a conflict: speed.py COUNT, with three records in hexadecimal on standard input."""
import logging
import sys
import time

from merges import python_merge

logging.disable(logging.CRITICAL)
count = int(sys.argv[1])
records = [bytes.fromhex(line) for line in sys.stdin.read().split()]
assert python_merge(*records), 'Python does not merge this'
began = time.process_time()
for _ in range(count):
    python_merge(*records)
print((time.process_time() - began) / count * 1e9)
