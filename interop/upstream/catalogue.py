"""The tests of the installed ZEO and ZODB packages that start a server, each under one name.

    testZEO.FileStorageTests.checkConflicts    a method of a test class: module, class, method
    testZEO.test_ruok                          a doctest of a function: module, function
    testZEO/nagios.rst                         a doctest file: module that loads it, file
    SharedBlobs.test_blob_file_permissions     ZODB's tests of blobs, run by testZEO over a shared blob directory ...
    NonSharedBlobs/blob_connection.txt         ... and over one that is not
    Adapted.test_kill9_keeps_finished_commits  our own (adapted.py), in place of tests that reach into Python's server
"""
import doctest
import importlib
import os
import re
import unittest

MODULES = ('ZEO.tests.testZEO', 'ZEO.tests.testConnection', 'ZEO.tests.testConfig', 'ZEO.tests.testssl',
           'ZEO.tests.test_client_side_conflict_resolution', 'adapted')


class Test:
    """One test: its name, the unittest object that runs it, the layer it wants around it (or None)."""

    def __init__(self, name, case, layer):
        self.name = name
        self.case = case
        self.layer = layer

    def shares_blobs(self):
        """Tell whether its clients have the server's directory of blobs for their own."""
        return self.name.startswith('SharedBlobs') or getattr(self.case, 'shared_blob_dir', False)


def load():
    """Return every test of MODULES by name: what their suites hold, and classes that their suites leave out."""
    tests = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, case, layer in _of_module(module):
            tests.setdefault(name, Test(name, case, layer))
    return tests


def _of_module(module):
    short = module.__name__.rpartition('.')[2]
    if hasattr(module, 'test_suite'):
        yield from _walk(module.test_suite(), short, None)
    for cls in list(vars(module).values()):
        if isinstance(cls, type) and issubclass(cls, unittest.TestCase) and cls.__module__ == module.__name__:
            for case in _methods(cls):
                yield _name(case, short), case, None


def _methods(cls):
    for prefix in 'check', 'test':
        loader = unittest.TestLoader()
        loader.testMethodPrefix = prefix
        yield from loader.loadTestsFromTestCase(cls)


def _walk(suite, group, layer):
    layer = getattr(suite, 'layer', layer)
    if not isinstance(suite, unittest.TestSuite):
        yield _name(suite, group), suite, layer
        return
    blobs = re.fullmatch('ClientStorage((Non)?SharedBlobs)BlobTests', getattr(layer, '__name__', ''))
    for part in suite:
        yield from _walk(part, blobs.group(1) if blobs else group, layer)


def _name(case, group):
    if isinstance(case, doctest.DocFileCase):
        return '%s/%s' % (group, os.path.basename(case._dt_test.filename))
    if isinstance(case, doctest.DocTestCase):
        return '%s.%s' % (_group_of(case._dt_test.name, group), case._dt_test.name.rpartition('.')[2])
    if group.endswith('SharedBlobs'):
        return '%s.%s' % (group, case._testMethodName)
    if group == 'adapted':
        return 'Adapted.%s' % case._testMethodName
    return '%s.%s.%s' % (group, type(case).__name__, case._testMethodName)


def _group_of(dotted, group):
    module = dotted.split('.')[-2]
    return group if module == 'testblob' else module


def find(tests, name):
    """Return the test called name, or None. ZODB renames its methods from check* to test*: both are looked for."""
    if name in tests:
        return tests[name]
    head, dot, last = name.rpartition('.')
    for old, new in ('check', 'test'), ('test', 'check'):
        if last.startswith(old) and head + dot + new + last[len(old):] in tests:
            return tests[head + dot + new + last[len(old):]]
    return None


def read_list(path):
    """Return the names in a file of names: sections [prefix] with the rest of a name on each line, # for comments.

    A name in a section is prefix + '.' + line; a line that begins with a slash is joined as it is.
    """
    names, prefix = [], ''
    with open(path) as f:
        for line in f:
            line = line.split('#')[0].strip()
            if line.startswith('['):
                prefix = line.strip('[]')
            elif line:
                names.append(prefix + ('' if line.startswith('/') else '.') + line)
    return names


def read_exceptions(path):
    """Return [(regular expression, where, reason)] of a file of lines "where name reason"; * in a name matches all.

    where is a codec, a storage, or * for all.
    """
    rows = []
    with open(path) as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith('#'):
                codec, name, reason = line.split(None, 2)
                rows.append((re.compile(re.escape(name).replace(r'\*', '.*')), codec, reason))
    return rows
