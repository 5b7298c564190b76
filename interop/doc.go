// Package interop holds the tests against the real Python packages: ZODB and its ZEO client on one side, the zari binary on the
// other, and data files passed to and fro between Python's FileStorage and ours.
//
// The package itself is empty; the tests are what it is for.
//
//   - client_test.go: small Python programs (pyclient/) do what applications do: conflicts that merge, blobs, undo, pack,
//     history, iterators, readers that must never see half a transaction.
//   - files_test.go: one Data.fs written in turn by Python's FileStorage and by the server, compared object by object.
//   - kill_test.go: kill -9 under load; every acknowledged commit is there afterwards, and Python opens the file.
//   - copy_test.go: zari copy makes what copyTransactionsFrom makes; killed with kill -9 and started again it still does.
//   - mixed_test.go, failover_test.go: several servers and RelStorage write to one SQL database; servers are killed, it is
//     packed, its primary dies.
//   - full_test.go: no space left; the commit fails, nothing is lost, and service goes on when there is space again.
//   - upstream/: ZEO's and ZODB's own test suites, run against the binary (a program of its own: run.py there).
//
// # Environment
//
//	ZARI_PYTHON  the Python to use; .venv/bin/python at the root of the repository otherwise (make venv makes it)
//	ZARI_SERVER  the server: a command with {conf} for its configuration file, or "runzeo" for Python's own; the zari
//	             binary, built from this tree, otherwise
//	ZARI_ROUNDS  rounds of kill -9 (5)
//	ZARI_COPY_KILLS, ZARI_COPY_MB  kills of a copy (10), and the size of what is copied (4)
//	ZARI_SECONDS how long each kind of mixed writing takes, on each database; otherwise a few are chosen
//	ZARI_SEED    which ones (the day of the year)
//	CI           if set, a missing Python is a failure; otherwise the tests are skipped and say why
package interop
