package resolve

import "strings"

// renamed are the modules that Python 3 finds under other names, but only in
// pickles of protocols below 3 (the keys in Lib/_compat_pickle.py). What is merged
// is written with protocol 3, where an old name would be lost, and a new one would
// be unknown to Python 2.
var renamed = words(`
	BaseHTTPServer CGIHTTPServer ConfigParser Cookie Dialog DocXMLRPCServer FileDialog HTMLParser Queue ScrolledText
	SimpleDialog SimpleHTTPServer SimpleXMLRPCServer SocketServer StringIO Tix Tkconstants Tkdnd Tkinter UserDict
	UserList UserString __builtin__ _abcoll _elementtree _multiprocessing _socket _winreg anydbm cPickle cStringIO
	commands cookielib copy_reg dbhash dbm dumbdbm dummy_thread exceptions gdbm htmlentitydefs httplib itertools
	markupbase multiprocessing multiprocessing.forking multiprocessing.process repr robotparser socket
	test.test_support thread tkColorChooser tkCommonDialog tkFileDialog tkFont tkMessageBox tkSimpleDialog ttk
	urllib urllib2 urlparse whichdb xmlrpclib
`)

func words(text string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// oldProtocol reports whether a pickle's protocol is below 3.
func oldProtocol(pickle []byte) bool {
	const proto = 0x80
	return len(pickle) < 2 || pickle[0] != proto || pickle[1] < 3
}
