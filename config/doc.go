// Package config reads configuration files: zeo.conf, as Python's ZEO server has
// it, the files in which applications name their databases, and what Zari adds.
//
// # The model
//
// [Load] reads a file of sections into a [Config]: a tree of plain values that
// says what is to be served and how, and opens nothing. No path in it has been
// looked at. Each value knows the line that it comes from, for the errors of
// those who open it.
//
//	<zeo>
//	  address 8100
//	  metrics-address 127.0.0.1:8101
//	  <ssl>
//	    certificate server.pem
//	    key server_key.pem
//	    authenticate clients.pem
//	  </ssl>
//	</zeo>
//	<filestorage 1>
//	  path /var/db/Data.fs
//	  blob-dir /var/db/blobs
//	</filestorage>
//	<eventlog>
//	  <logfile>
//	    path /var/log/zeo.log
//	  </logfile>
//	</eventlog>
//
// [LoadStorages] reads any file that names storages: the above, a zope.conf, whose
// other contents are passed over with one note, a file with <zodb> sections, or
// one for zodbconvert, of which [LoadConvert] makes a source and a destination.
// [FindStorage] finds what a command line names: a path, a URL, a file and a name.
//
// # A graph of storages
//
// A storage is a [Storage]: what it is, and the parts that it is made of. The
// section <use NAME/> stands for a storage that has its section elsewhere,
// outermost or in <storages>, so that the tree becomes a graph without cycles.
// [Use] holds the very value that it stands for, and whoever opens a graph opens
// each value once.
//
// # What is understood, and what is not
//
// An existing file works as it is, or is refused: nothing in it is passed over in
// silence. What has no meaning here but does no harm (the <runner> section, a
// monitor-address) gives a [Note]; what cannot be had (a Python function to call,
// a section type that Zari does not have yet) and what is not known (a misspelt
// key) is an error at its line. All errors of a file are reported, in [Errors],
// unless its syntax is at fault: there reading stops. [Check] reports what a file
// would have run, in plain words.
//
// [New] writes a commented file for a set-up, and [Complete] adds what an existing
// one lacks.
//
// The sections and keys of ZEO and ZODB, their data types and defaults, are those
// of ZEO/schema.xml, ZEO/server.xml, ZEO/component.xml, ZODB/component.xml,
// ZConfig/components/logger/*.xml, zdaemon/component.xml,
// Zope2/Startup/wsgischema.xml, and the component.xml of zc.zlibstorage and
// zc.beforestorage; URLs are those of zodburi/resolvers.py. The syntax is in package
// [github.com/zaridb/zari/config/zconfig]. All keys are in
// docs/operations/configuration.md.
package config
