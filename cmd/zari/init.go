package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/config"
)

const initLong = `Write a configuration file, with comments, for a set-up of a kind:

%s
FILE is zeo.conf if it is not given; - writes to standard output. A file that is
there is never overwritten. With --update it is completed: keys and sections that
the set-up has and the file has not are added, and all else stays as it is, to the
byte. A file that has a storage gets no other one.`

const initExample = `  zari init
  zari init --kind blobs --data /srv/Data.fs --blob-dir /srv/blobs -a 0.0.0.0:8100
  zari init --kind fan-out --server zeo.example.com:8100 /etc/zari.conf
  zari init --kind postgresql --database postgres://zeo@db.example.com/zodb
  zari init --kind zope -
  zari init --update zeo.conf`

func initKinds() string {
	var b strings.Builder
	for _, k := range config.Kinds {
		fmt.Fprintf(&b, "  %-10s  %s\n", k.Name, k.Is)
	}
	return b.String()
}

func newInitCommand() *cobra.Command {
	var setup config.Setup
	var update bool
	cmd := &cobra.Command{
		Use:     "init [flags] [FILE]",
		Short:   "Write a configuration file",
		Long:    fmt.Sprintf(initLong, initKinds()),
		Example: initExample,
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "zeo.conf"
			if len(args) > 0 {
				path = args[0]
			}
			if update {
				return updateConfig(cmd.OutOrStdout(), path, setup)
			}
			return initConfig(cmd.OutOrStdout(), path, setup)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&setup.Kind, "kind", "file", "what the file is for; see above")
	flags.StringVarP(&setup.Address, "address", "a", defaultAddress, "where clients connect: HOST:PORT, PORT, or the path of a Unix socket")
	flags.StringVar(&setup.Data, "data", "Data.fs", "the file of the database")
	flags.StringVar(&setup.BlobDir, "blob-dir", "blobs", "the directory of its blobs")
	flags.StringVar(&setup.Server, "server", "", "the server to connect to: needed for fan-out; for zope, the address if it is not given")
	flags.StringVar(&setup.Database, "database", "", "the URL of a SQL database; not given: one named zodb on this machine")
	flags.BoolVar(&update, "update", false, "complete a file that is there")
	return cmd
}

func initConfig(w io.Writer, path string, setup config.Setup) error {
	text, err := config.New(setup)
	if err != nil {
		return usageError{err}
	}
	if path == "-" {
		_, err := io.WriteString(w, text)
		return err
	}
	mode := fs.FileMode(0o644)
	if config.Redact(setup.Database) != setup.Database {
		mode = 0o600 // there is a password in it
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: --update adds to it", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	fmt.Fprintf(w, "wrote %s\n", path)
	return nil
}

func updateConfig(w io.Writer, path string, setup config.Setup) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, added, err := config.Complete(old, path, setup, nil)
	if err != nil {
		return usageError{err}
	}
	if len(added) == 0 {
		fmt.Fprintf(w, "%s lacks nothing\n", path)
		return nil
	}
	if err := replaceFile(path, text); err != nil {
		return err
	}
	for _, a := range added {
		fmt.Fprintf(w, "%s: added %s\n", path, a)
	}
	return nil
}

// replaceFile gives the file at path, which may be a link, other contents in one
// step. Its mode stays.
func replaceFile(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
