"""A Zope site: folders, templates, scripts, files, a PAS user folder, a catalog, sessions.

usage: zope_site.py DIRECTORY
"""

import os
import random
import sys

import transaction
from AccessControl.SecurityManagement import newSecurityManager
from Testing.makerequest import makerequest


def application(directory):
    import Zope2
    from Zope2.Startup.run import configure_wsgi

    conf = os.path.join(directory, 'zope.conf')
    with open(conf, 'w') as f:
        f.write(f'''%define INSTANCE {directory}
instancehome $INSTANCE
<zodb_db main>
  mount-point /
  <filestorage>
    path $INSTANCE/Data.fs
    blob-dir $INSTANCE/blobs
  </filestorage>
</zodb_db>
''')
    configure_wsgi(conf)
    return makerequest(Zope2.app())


def catalog(app, rand):
    from DateTime import DateTime
    from Products.PluginIndexes.BooleanIndex.BooleanIndex import BooleanIndex
    from Products.PluginIndexes.DateIndex.DateIndex import DateIndex
    from Products.PluginIndexes.DateRangeIndex.DateRangeIndex import DateRangeIndex
    from Products.PluginIndexes.FieldIndex.FieldIndex import FieldIndex
    from Products.PluginIndexes.KeywordIndex.KeywordIndex import KeywordIndex
    from Products.PluginIndexes.PathIndex.PathIndex import PathIndex
    from Products.PluginIndexes.UUIDIndex.UUIDIndex import UUIDIndex
    from Products.ZCatalog.ZCatalog import ZCatalog
    from Products.ZCTextIndex.Lexicon import CaseNormalizer, Splitter
    from Products.ZCTextIndex.ZCTextIndex import PLexicon, ZCTextIndex

    app._setObject('catalog', ZCatalog('catalog'))
    cat = app.catalog
    cat._setObject('lexicon', PLexicon('lexicon', '', Splitter(), CaseNormalizer()))
    for cls in (BooleanIndex, DateIndex, FieldIndex, KeywordIndex, PathIndex, UUIDIndex):
        cat._catalog.addIndex(cls.__name__, cls(cls.__name__))
    cat._catalog.addIndex('range', DateRangeIndex('range', since_field='DateIndex', until_field='until'))

    class Extra:
        index_type = 'Okapi BM25 Rank'
        lexicon_id = 'lexicon'
        doc_attr = 'body'

    cat._catalog.addIndex('text', ZCTextIndex('text', extra=Extra, caller=cat))
    for column in ('FieldIndex', 'DateIndex', 'body'):
        cat._catalog.addColumn(column)

    class Doc:
        pass

    words = ['word%d' % n for n in range(400)] + ['\xe4\xf6\xfc', '\u4e2d\u6587', '\U0001f600']
    for n in range(1500):
        doc = Doc()
        doc.BooleanIndex = n % 3 == 0
        doc.DateIndex = DateTime(2020 + n % 7, 1 + n % 12, 1 + n % 28)
        doc.until = DateTime(2030, 1, 1)
        doc.FieldIndex = 'f%d' % (n % 200)
        doc.KeywordIndex = rand.sample(words, 5)
        doc.UUIDIndex = 'uuid%d' % n
        doc.body = ' '.join(rand.choice(words) for _ in range(30))
        doc.getPhysicalPath = lambda n=n: ('', 'folder%d' % (n % 10), 'doc%d' % n)
        cat.catalog_object(doc, '/folder%d/doc%d' % (n % 10, n))
        if n % 100 == 99:
            transaction.commit()
    for n in range(0, 1500, 7):
        cat.uncatalog_object('/folder%d/doc%d' % (n % 10, n))
    transaction.commit()


def content(app, rand):
    from OFS.Folder import manage_addFolder
    from OFS.Image import manage_addFile, manage_addImage
    from OFS.OrderedFolder import manage_addOrderedFolder
    from Products.BTreeFolder2.BTreeFolder2 import manage_addBTreeFolder
    from Products.MailHost.MailHost import manage_addMailHost
    from Products.PageTemplates.ZopePageTemplate import manage_addPageTemplate
    from Products.PythonScripts.PythonScript import manage_addPythonScript

    if 'MailHost' not in app.objectIds():
        manage_addMailHost(app, 'MailHost')
    for f in range(10):
        manage_addFolder(app, 'folder%d' % f, 'Folder %d' % f)
        folder = app['folder%d' % f]
        manage_addOrderedFolder(folder, 'ordered')
        for n in range(20):
            manage_addPageTemplate(folder, 'page%d' % n, 'Page', '<p tal:content="here/title">x</p>')
            manage_addPythonScript(folder, 'script%d' % n)
            folder['script%d' % n].ZPythonScript_edit('a, b=1', 'return a + b\n')
            folder.manage_addDTMLMethod('dtml%d' % n, 'A', '<dtml-var title>')
            folder['page%d' % n].manage_addProperty('n', n, 'int')
        manage_addFile(folder, 'big', os.urandom(200000))
        manage_addImage(folder, 'image', b'GIF89a' + os.urandom(2000))
        folder['page1'].manage_setLocalRoles('admin', ['Owner'])
        transaction.commit()
    manage_addBTreeFolder(app, 'many', 'Many')
    from OFS.DTMLDocument import DTMLDocument
    for n in range(700):
        app.many._setObject('o%d' % n, DTMLDocument('text %d' % n, __name__='o%d' % n))
    transaction.commit()
    for n in range(0, 700, 3):
        app.many._delObject('o%d' % n)
    transaction.commit()


def users(app):
    folder = app.folder3
    from Products.PluggableAuthService.PluggableAuthService import addPluggableAuthService
    addPluggableAuthService(folder)
    pas = folder.acl_users.manage_addProduct['PluggableAuthService']
    pas.addZODBUserManager('users')
    pas.addZODBRoleManager('roles')
    pas.addZODBGroupManager('groups', '')
    pas.addCookieAuthHelper('cookies')
    for n in range(50):
        folder.acl_users.users.addUser('u%d' % n, 'login%d' % n, 'secret')
        folder.acl_users.roles.assignRoleToPrincipal('Manager', 'u%d' % n)
    transaction.commit()


def main():
    directory = os.path.abspath(sys.argv[1])
    os.makedirs(directory, exist_ok=True)
    app = application(directory)
    app.acl_users._doAddUser('admin', 'secret', ['Manager'], [])
    transaction.commit()
    newSecurityManager(None, app.acl_users.getUserById('admin').__of__(app.acl_users))
    rand = random.Random(1)
    content(app, rand)
    catalog(app, rand)
    users(app)
    transaction.commit()
    app._p_jar.db().close()


main()
