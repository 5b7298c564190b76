"""Serves a configuration through a chain: the client talks to Zari, that to Zari, and that to the server of the storages.

    python interop/upstream/run.py --server 'python interop/upstream/chain.py bin/zari {conf}'
    python interop/upstream/run.py --server 'python interop/upstream/chain.py --zari-last bin/zari {conf}'

The last server is Python's, or Zari with --zari-last. It ends when told by SIGTERM, with 0 if all three end so.
"""
import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--zari-last', action='store_true')
    p.add_argument('zari')
    p.add_argument('conf')
    args = p.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(args.conf) as f:
        zeo, storages = split(f.read())
    work = tempfile.mkdtemp(prefix='zari-chain-')
    zari = [args.zari, 'serve', '--metrics-address', 'off', '-C']
    last = zari if args.zari_last else [sys.executable, '-m', 'ZEO.runzeo', '-C']
    socks = [os.path.join(work, n) for n in ('last', 'middle')]
    links = [
        (last, inner(zeo, socks[0]) + storages, socks[0]),
        (zari, inner(zeo, socks[1]) + clients(zeo, storages, socks[0]), socks[1]),
        (zari, zeo + clients(zeo, storages, socks[1]), None),
    ]
    running = []
    try:
        for i, (command, conf, sock) in enumerate(links):
            path = os.path.join(work, '%d.conf' % i)
            with open(path, 'w') as f:
                f.write(conf)
            running.append(subprocess.Popen(command + [path]))
            if sock:
                await_socket(sock, running[-1])
        while not stop.wait(0.1):
            if any(r.poll() is not None for r in running):
                sys.exit('a server of the chain has ended: %s' % [r.returncode for r in running])
    finally:
        codes = [end(r) for r in reversed(running)]
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(any(c not in (0, -signal.SIGTERM) for c in codes))


def split(conf):
    """Return the <zeo> section and what else there is."""
    m = re.search(r'<zeo>.*?</zeo>\n?', conf, re.S)
    return m.group(0), conf[:m.start()] + conf[m.end():]


def inner(zeo, sock):
    """Return a <zeo> section for a link inside of the chain."""
    zeo = re.sub(r'<ssl>.*?</ssl>', '', zeo, flags=re.S)
    zeo = re.sub(r'^\s*(address|monitor-address|pid-filename|transaction-timeout)\s.*\n', '', zeo, flags=re.M)
    return zeo.replace('<zeo>', '<zeo>\n  address %s' % sock, 1)


def clients(zeo, storages, sock):
    """Return a <zeoclient> for each storage at the outermost level, and what else is there."""
    out, depth, sections = [], 0, []
    for line in storages.splitlines():
        start = re.match(r'\s*<([\w.-]+)(?:\s+(\S+?))?\s*(/?)>\s*$', line)
        if depth == 0 and start and start.group(1) not in ('eventlog', 'runner'):
            sections.append([start.group(2) or '1', []])
        if sections and (depth or start):
            sections[-1][1].append(line)
        else:
            out.append(line)
        if start and not start.group(3):
            depth += 1
        elif re.match(r'\s*</', line):
            depth -= 1
    for storage, lines in sections:
        section = ['<zeoclient %s>' % storage, '  server %s' % sock, '  storage %s' % storage, '  min-disconnect-poll 1']
        if re.search(r'^\s*read-only\s+(true|yes|on|1)', '\n'.join([zeo] + lines), re.M | re.I):
            section.append('  read-only true')
        blobs = re.search(r'^\s*blob-dir\s+(\S+)', '\n'.join(lines), re.M)
        if blobs:  # one that the test's clients may share
            section += ['  blob-dir ' + blobs.group(1), '  shared-blob-dir true']
        out += section + ['</zeoclient>']
    return '\n'.join(out) + '\n'


def await_socket(path, process):
    for _ in range(3000):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(path)
                return
            except OSError:
                pass
        if process.poll() is not None:
            sys.exit('a server of the chain ended at its start')
        time.sleep(0.01)
    sys.exit('a server of the chain does not listen')


def end(process):
    """Stop a server; Python's may have to be told more than once."""
    for _ in range(8):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(2)
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    return process.wait()


if __name__ == '__main__':
    main()
