// Package config reads configuration files: zeo.conf, as Python's ZEO server
// has it, and what Zari adds to it.
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
// # What is understood, and what is not
//
// An existing file works as it is, or is refused: nothing in it is passed over in
// silence. What has no meaning here but does no harm (the <runner> section, a
// monitor-address) gives a [Note]; what cannot be had (a Python function to call,
// a section type that Zari does not have yet) and what is not known (a misspelt
// key) is an error at its line. All errors of a file are reported, in [Errors],
// unless its syntax is at fault: there reading stops.
//
// The sections and keys of ZEO and ZODB, their data types and defaults, are those
// of ZEO/schema.xml, ZEO/server.xml, ZODB/component.xml,
// ZConfig/components/logger/*.xml and zdaemon/component.xml. The syntax is in
// package [github.com/zaridb/zari/config/zconfig].
package config
