"""A Plone site with content: folders, pages, images, news, users, comments, versions.

usage: plone_site.py DIRECTORY
"""

import os
import random
import sys

import transaction
from AccessControl.SecurityManagement import newSecurityManager
from Testing.makerequest import makerequest
from zope.component.hooks import setSite
from zope.globalrequest import setRequest


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
    os.makedirs(os.path.join(directory, 'etc'), exist_ok=True)
    with open(os.path.join(directory, 'etc', 'site.zcml'), 'w') as f:
        f.write('''<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:five="http://namespaces.zope.org/five"
    xmlns:meta="http://namespaces.zope.org/meta">
  <include package="Products.Five"/>
  <meta:redefinePermission from="zope2.Public" to="zope.Public"/>
  <five:loadProducts file="meta.zcml"/>
  <five:loadProducts/>
  <five:loadProductsOverrides/>
  <securityPolicy component="AccessControl.security.SecurityPolicy"/>
</configure>
''')
    configure_wsgi(conf)
    return makerequest(Zope2.app())


def fill(site, rand):
    from plone import api
    from plone.app.discussion.interfaces import IConversation
    from plone.namedfile.file import NamedBlobFile
    from plone.namedfile.file import NamedBlobImage
    from plone.app.textfield.value import RichTextValue
    from zope.component import createObject

    pixel = bytes.fromhex(
        '89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489'
        '0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082')
    words = [f'wort{n:x}' for n in range(500)]

    def text(n):
        return ' '.join(rand.choice(words) for _ in range(n))

    for n in range(30):
        api.user.create(email=f'u{n}@example.org', username=f'user{n}', password='Secret.%08d!' % n)
    for f in range(8):
        folder = api.content.create(site, 'Folder', f'folder-{f}', title=text(3))
        for n in range(25):
            page = api.content.create(folder, 'Document', f'page-{n}', title=text(4), description=text(12))
            page.text = RichTextValue(f'<p>{text(120)}</p>', 'text/html', 'text/html')
            page.reindexObject()
            if n % 5 == 0:
                api.content.transition(page, 'publish')
            if n % 7 == 0:
                conversation = IConversation(page)
                comment = createObject('plone.Comment')
                comment.text = text(20)
                conversation.addComment(comment)
        for n in range(5):
            image = api.content.create(folder, 'Image', f'image-{n}', title=text(2))
            image.image = NamedBlobImage(pixel, 'image/png', 'pixel.png')
            file = api.content.create(folder, 'File', f'file-{n}', title=text(2))
            file.file = NamedBlobFile(os.urandom(300), 'application/octet-stream', 'data.bin')
        news = api.content.create(folder, 'News Item', 'news', title='\u4e2d\u6587 \U0001f600')
        api.content.create(folder, 'Event', 'event', title=text(3))
        api.content.create(folder, 'Collection', 'collection', title=text(3))
        news.setSubject((text(1), text(1)))
        transaction.commit()
    for f in range(0, 8, 3):
        api.content.delete(site[f'folder-{f}']['page-3'])
        api.content.rename(site[f'folder-{f}']['page-4'], 'renamed')
        api.content.move(site[f'folder-{f}']['page-5'], site['folder-1'], safe_id=True)
        transaction.commit()


def main():
    directory = os.path.abspath(sys.argv[1])
    os.makedirs(directory, exist_ok=True)
    app = application(directory)
    app.acl_users._doAddUser('admin', 'secret', ['Manager'], [])
    transaction.commit()
    newSecurityManager(None, app.acl_users.getUserById('admin').__of__(app.acl_users))
    setRequest(app.REQUEST)

    from Products.CMFPlone.factory import addPloneSite
    site = addPloneSite(
        app, 'plone', title='A site', default_language='en', extension_ids=('plone.app.contenttypes:default', 'plone.app.discussion:default'))
    transaction.commit()
    setSite(site)
    fill(site, random.Random(1))
    app._p_jar.db().close()


main()
