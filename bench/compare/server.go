package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/zaridb/zari/bench/bareserver"
	"github.com/zaridb/zari/bench/harness"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// bareCommand is the first argument with which this program becomes the bare
// server, so that it has a process of its own to be measured.
const bareCommand = "bareserver"

// start starts a program on a Data.fs.
func (l *lab) start(ctx context.Context, program, file string) (*harness.Server, error) {
	p := harness.Zari(l.zari, file)
	switch program {
	case python:
		p = harness.Program{Name: python, Args: func(address string) []string {
			return []string{l.python, "-m", "ZEO.runzeo", "-a", address, "-f", file}
		}}
	case bare:
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		p = harness.Program{Name: bare, Raw: true, Args: func(address string) []string {
			return []string{self, bareCommand, "-a", address, file}
		}}
	}
	return p.Start(ctx, filepath.Dir(file))
}

// blockSize is the size of the objects that are loaded.
const blockSize = 1024

// replySize returns the length of the answer to a load of such an object, in
// pickle, as the generator asks for it.
func replySize() (int, error) {
	var name [8]byte
	call, err := wire.Pickle.AppendCall(nil, pickle.Tuple{name[:], name[:]}, "loadBefore", name[:], name[:])
	if err != nil {
		return 0, err
	}
	const header = 4
	m, err := wire.Pickle.Decode(call[header:])
	if err != nil {
		return 0, err
	}
	answer := wire.Pickle.AppendLoad(nil, m.ID, zodb.Record{Data: make([]byte, blockSize), Serial: 1})
	return len(answer) - header, nil
}

// serveBare is the bare server's main program.
func serveBare(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(bareCommand, flag.ContinueOnError)
	address := fs.String("a", "127.0.0.1:0", "address")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New(bareCommand + " wants a file and has " + strconv.Itoa(fs.NArg()))
	}
	f, err := os.Open(fs.Arg(0))
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	reply, err := replySize()
	if err != nil {
		return err
	}
	s := &bareserver.Server{File: f, Block: blockSize, Reply: reply, Seed: 1}
	return s.Serve(l)
}
