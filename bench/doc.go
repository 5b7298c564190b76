// Package bench measures servers that speak the ZEO protocol: Zari, Python's
// runzeo, or any other. It is a load generator and nothing of a client: no
// cache, no pickles, and as little work for each operation as it can.
//
// # What is measured
//
// A run opens some connections, lets them work for a while unmeasured (the
// warm-up), and then counts for a while. Each connection is a closed loop: it
// keeps a fixed number of operations in flight and starts one when another
// ends. So a slow server is asked less, and the latencies are those of a system
// that is as busy as it can be with that many clients; they are not those of an
// open system where requests arrive regardless.
//
// Beside rate and latency there is the processor time that the server took,
// read from /proc where generator and server share a machine. Operations for
// each second of it are the figure to compare servers by: the rate also depends
// on how much of the machine the generator takes.
//
// # Workloads
//
//   - load: loadBefore of objects at the last transaction that the connection
//     knows, as ZODB's connections ask it.
//   - commit: transactions of one or more objects that belong to one connection,
//     each waiting for vote and for finish; some made on purpose to conflict.
//   - mixed: loads with now and then a commit, on objects that all connections
//     share, invalidations heeded. Conflicts happen by themselves.
//   - slow-voter: commits, first alone, then while another client sits for a
//     second between vote and finish on an object of its own.
//   - fill: makes a database to load from, in large transactions.
//
// # Safety
//
// No workload changes an object that it did not make. commit, mixed and
// slow-voter ask the server for fresh oids and leave garbage that a pack
// removes; fill stores with the serial of a new object, which the server refuses
// as a conflict where there is one already.
package bench
