// Package harness is what the benchmarks below bench have in common, so that each of
// them only says what it measures.
//
// A benchmark is a program that has two or more sides do the same, prints the figures
// of each and how they compare, and is run from the root of the repository:
//
//   - [Main] is its main function, [Flags] reads its command line. What has to be
//     measured in a process of its own is the same program in another [Role].
//   - [Program] starts a [Server] on a free port of this machine, waits until it
//     answers, and tells what it wrote when something goes wrong. [Postgres] is the
//     database of those that need one, [Output] runs a program to its end.
//   - [DataFile] makes a Data.fs to measure with.
//   - The sides are measured in turns, run after run, so that noise on the machine
//     hits all alike. [Median] is what is told of the runs.
package harness
