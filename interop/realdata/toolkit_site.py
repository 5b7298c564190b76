"""A site of the Zope Toolkit: containers, a catalog, intids, principals, sessions, annotations.

usage: toolkit_site.py DIRECTORY
"""

import datetime
import decimal
import os
import random
import sys
import uuid

import persistent
import transaction
import ZODB.FileStorage
from BTrees.Length import Length
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.blob import Blob
from zope.annotation.attribute import AttributeAnnotations
from zope.annotation.interfaces import IAttributeAnnotatable
from zope.catalog.catalog import Catalog
from zope.catalog.field import FieldIndex
from zope.catalog.keyword import KeywordIndex
from zope.catalog.text import TextIndex
from zope.component import provideAdapter
from zope.component import provideUtility
from zope.component.hooks import setSite
from zope.container.btree import BTreeContainer
from zope.container.contained import Contained
from zope.container.contained import ContainerSublocations
from zope.container.interfaces import IReadContainer
from zope.container.ordered import OrderedContainer
from zope.dublincore.annotatableadapter import ZDCAnnotatableAdapter
from zope.interface import implementer
from zope.intid import IntIds
from zope.intid.interfaces import IIntIds
from zope.keyreference.persistent import KeyReferenceToPersistent
from zope.location.interfaces import ISublocations
from zope.password.interfaces import IPasswordManager
from zope.password.password import PlainTextPasswordManager
from zope.pluggableauth.plugins.principalfolder import InternalPrincipal
from zope.pluggableauth.plugins.principalfolder import PrincipalFolder
from zope.session.session import PersistentSessionDataContainer
from zope.session.session import SessionData
from zope.session.session import SessionPkgData
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager
from zope.site.site import SiteManagerAdapter


@implementer(IAttributeAnnotatable)
class Page(persistent.Persistent, Contained):
    """What an application stores."""


def site(root):
    provideUtility(PlainTextPasswordManager(), IPasswordManager, 'Plain Text')
    provideAdapter(AttributeAnnotations)
    provideAdapter(KeyReferenceToPersistent, (persistent.interfaces.IPersistent,))
    provideAdapter(ContainerSublocations, (IReadContainer,), ISublocations)
    provideAdapter(SiteManagerAdapter)
    folder = root['site'] = Folder()
    manager = LocalSiteManager(folder)
    folder.setSiteManager(manager)
    setSite(folder)
    ids = manager['ids'] = IntIds()
    manager.registerUtility(ids, IIntIds)
    catalog = manager['catalog'] = Catalog()
    catalog['title'] = FieldIndex('title')
    catalog['tags'] = KeywordIndex('tags')
    catalog['body'] = TextIndex('body')
    manager['people'] = PrincipalFolder('people.')
    manager['sessions'] = PersistentSessionDataContainer()
    return folder


def fill(folder, rand):
    manager = folder.getSiteManager()
    ids, catalog = manager['ids'], manager['catalog']
    for f in range(6):
        box = folder['box%d' % f] = BTreeContainer() if f % 2 else OrderedContainer()
        for n in range(60):
            page = Page()
            page.title = 'Page %d' % (n % 17)
            page.tags = ['tag%d' % rand.randrange(40) for _ in range(3)]
            page.body = ' '.join('w%d' % rand.randrange(300) for _ in range(40))
            page.when = datetime.datetime(2026, 1 + n % 12, 1 + n % 28, n % 24, 30, 0, 5 * n, datetime.timezone.utc)
            page.day, page.span = datetime.date(2026, 2, 3), datetime.timedelta(days=n, microseconds=3)
            page.price, page.uuid = decimal.Decimal('%d.50' % n), uuid.UUID(int=n)
            page.odd = [2 ** 70 + n, -n, 1.5, complex(1, n), frozenset([n]), {n}, b'\x00\xff', bytearray(b'ab'), '\U0001f600', range(n), ...]
            page.me = page
            page.ring = []
            page.ring.append((page.ring, page.odd))
            page.related, page.weak = PersistentList([folder]), WeakRef(folder)
            page.size = Length(n)
            page.extra = PersistentMapping({(1, 'a'): None, None: True, 2.5: 'x'})
            box['page%d' % n] = page
            folder._p_jar.add(page)
            dc = ZDCAnnotatableAdapter(page)
            dc.title, dc.creators, dc.created = page.title, ('me', '\xe4'), page.when
            catalog.index_doc(ids.register(page), page)
            if n % 6 == 0:
                page.file = Blob(os.urandom(100 + n))
        transaction.commit()
        for n in range(0, 60, 9):
            catalog.unindex_doc(ids.getId(box['page%d' % n]))
            ids.unregister(box['page%d' % n])
            del box['page%d' % n]
        transaction.commit()
    for n in range(80):
        manager['people']['p%d' % n] = InternalPrincipal('p%d' % n, 'secret', 'Person %d' % n, passwordManagerName='Plain Text')
        session = manager['sessions']['s%d' % n] = SessionData()
        session['pkg'] = SessionPkgData()
        session['pkg']['n'] = n
    transaction.commit()


def main():
    directory = os.path.abspath(sys.argv[1])
    os.makedirs(directory, exist_ok=True)
    sys.modules['app'] = sys.modules['__main__']
    Page.__module__ = 'app'
    db = ZODB.DB(ZODB.FileStorage.FileStorage(os.path.join(directory, 'Data.fs'), blob_dir=os.path.join(directory, 'blobs')))
    connection = db.open()
    folder = site(connection.root())
    transaction.commit()
    fill(folder, random.Random(1))
    db.undo(db.undoInfo(0, 1)[0]['id'])
    transaction.commit()
    db.close()


main()
