// Package zodbdump writes transactions in the text form of zodbtools' `zodb dump`,
// which tools for ZODB read, `zodb restore` among them:
//
//	txn <tid> "<status>"
//	user "<user>"
//	description "<description>"
//	extension "<the pickle's bytes>"
//	obj <oid> delete
//	obj <oid> from <tid>
//	obj <oid> <size> sha1:<hash> -
//	obj <oid> <size> sha1:<hash>
//	<the data, size bytes>
//	<an empty line>
//
// Tids and oids have 16 hexadecimal digits. Objects come in the order of their
// oids. "from" is an undo record: the data are those that the transaction of that
// tid wrote. "-" stands where the data are left out. Blobs have no place in the
// form: of them there is only the record.
//
// Strings are quoted: \\, \", \t, \n, \r; printable ASCII and printable characters
// in valid UTF-8 as they are; every other byte as \xNN.
//
// The source is zodbtools/zodbdump.py, and the function qq of pygolang for the
// quoting.
package zodbdump
