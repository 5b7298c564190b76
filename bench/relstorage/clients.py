"""Real Python clients at work: each is a process of its own that commits, or loads, as fast as it can.

    python clients.py KIND WHERE PROCESSES SECONDS SIZE commit|load

KIND is relstorage (WHERE: a libpq DSN) or zeo (WHERE: host:port); with -uncached after it the processes' own caches of
records are as small as can be, so that each load goes to where the records are. The answer is one line of JSON: operations, seconds,
percentiles in ms, and the CPU seconds that the clients took.
"""
import json
import multiprocessing
import os
import resource
import sys
import time

import transaction
import ZODB
from persistent.mapping import PersistentMapping

OBJECTS = 200  # that each process loads from


def open_database(kind, where):
    kind, _, uncached = kind.partition('-')
    if kind == 'zeo':
        import ZEO.ClientStorage
        host, port = where.rsplit(':', 1)
        size = {'cache_size': 1 << 10} if uncached else {}
        return ZODB.DB(ZEO.ClientStorage.ClientStorage((host, int(port)), wait_timeout=60, **size))
    from relstorage.adapters.postgresql import PostgreSQLAdapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage
    options = Options(keep_history=True)
    if uncached:
        options.cache_local_object_max = 1  # bytes: nothing is that small
    return ZODB.DB(RelStorage(PostgreSQLAdapter(dsn=where, options=options), options=options))


def prepare(kind, where, processes, size):
    """Make the objects that the processes will use: each has its own."""
    db = open_database(kind, where)
    with db.transaction() as connection:
        root = connection.root()
        for i in range(processes):
            mine = root['process %d' % i] = PersistentMapping()
            for n in range(OBJECTS):
                mine[n] = PersistentMapping(data=os.urandom(size))
    db.close()


def committing(connection, mine, size, until):
    times, n = [], 0
    while True:
        began = time.perf_counter()
        if began >= until:
            return times
        mine[n % OBJECTS]['data'] = os.urandom(size)
        transaction.commit()
        times.append(time.perf_counter() - began)
        n += 1


def loading(connection, mine, size, until):
    """Load each object anew for each transaction, as an application does whose own cache is full."""
    times, n = [], 0
    objects = [mine[i] for i in range(OBJECTS)]
    while True:
        if n % OBJECTS == 0:
            connection.cacheMinimize()
            transaction.begin()
        began = time.perf_counter()
        if began >= until:
            return times
        objects[n % OBJECTS]['data']
        times.append(time.perf_counter() - began)
        n += 1


def process(kind, where, i, seconds, size, work, barrier, answers):
    db = open_database(kind, where)
    connection = db.open()
    mine = connection.root()['process %d' % i]
    run = {'commit': committing, 'load': loading}[work]
    run(connection, mine, size, time.perf_counter() + 1)  # unmeasured
    barrier.wait()
    before = resource.getrusage(resource.RUSAGE_SELF)
    times = run(connection, mine, size, time.perf_counter() + seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    answers.put((times, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    barrier.wait()  # nobody leaves, and makes others wait, while one works
    connection.close()
    db.close()


def main():
    kind, where, processes, seconds, size, work = sys.argv[1:]
    processes, seconds, size = int(processes), float(seconds), int(size)
    prepare(kind, where, processes, size)
    context = multiprocessing.get_context('spawn')
    barrier, answers = context.Barrier(processes + 1), context.Queue()
    workers = [context.Process(target=process, args=(kind, where, i, seconds, size, work, barrier, answers), daemon=True)
               for i in range(processes)]
    for w in workers:
        w.start()
    barrier.wait(300)
    print('started', flush=True)
    times, cpu = [], 0
    for _ in workers:
        t, c = answers.get(timeout=seconds + 300)
        times += t
        cpu += c
    print('ended', flush=True)
    sys.stdin.readline()  # until the CPU time of the servers has been read
    barrier.wait(300)
    for w in workers:
        w.join(60)
    times.sort()
    print(json.dumps({
        'operations': len(times), 'seconds': seconds, 'client_cpu': cpu,
        'p50': 1000 * times[len(times) // 2], 'p99': 1000 * times[len(times) * 99 // 100],
    }))


if __name__ == '__main__':
    main()
