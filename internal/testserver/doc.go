// Package testserver runs the servers that tests need beside them: databases, caches,
// stores of objects. Each kind of server has a package of its own, which says what is
// particular to it and has what its tests ask for: testpg, testmysql, tests3,
// testmemcached.
//
// A server is a child process with a temporary directory and a free port of the
// loopback. [New] makes these two, for the kind to put there what its server wants to
// find. [Server.Run] starts it and returns when it answers. [Server.Halt] ends it as a
// crash or an operator would, and the directory stays for the next Run. [Server.Stop]
// ends it for good.
//
// # Nothing is left
//
// A test process may end at any moment and by any signal, and leaves neither a server
// nor a directory. Two shells see to that. Each waits for the end of a pipe, which comes
// when the last process that has the other end of it is gone, however it went:
//
//   - The keeper is the parent of a running server. Only the test process has the other
//     end of its pipe. It ends the server.
//   - The remover removes the directory. All who use the directory have the other end
//     of its pipe: the test process, the keeper, the server with its children, a program
//     that installs something. Nobody writes any more what it has just removed.
//
// # Where a directory lies
//
// In memory where there is room, since databases sync every file of every table that
// they make, whatever they are told; a kind may want a disk. On a disk it is TMPDIR, or
// /var/tmp if TMPDIR does not do: some servers refuse to run as root, and then run as
// another user, who has to be able to enter; and the names of sockets are bounded. The
// server itself has its directory as TMPDIR.
//
// # Environment
//
//	TMPDIR  where directories on a disk lie
//	CI      true: what is not installed fails a test; otherwise it skips it
package testserver
