package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/config"
)

const configCheckLong = `Say in plain words what a configuration file would have run: where clients
connect, every storage and what it is made of, blobs, logs, and what in the file
does not do what it would do with Python's server. Nothing is opened. With --here,
files and folders that are needed and are not there are faults, too.

FILE is a zeo.conf, a zope.conf, a zodb.conf, or a file for zodbconvert.

EXIT STATUS
  0  the file is good
  2  it has faults, and each is reported with its line`

const configCheckExample = `  zari config check /etc/zope/zeo.conf
  zari config check --here zeo.conf
  zari config check --json zeo.conf | jq .storages`

func newConfigCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "config",
		Short: "Look at configuration files",
	})
	cmd.AddCommand(newConfigCheckCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	var asJSON, here bool
	cmd := &cobra.Command{
		Use:     "check FILE",
		Short:   "Say what a configuration file would have run",
		Long:    configCheckLong,
		Example: configCheckExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return configCheck(cmd.OutOrStdout(), args[0], here, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	cmd.Flags().BoolVar(&here, "here", false, "also look whether the files and folders that are needed are on this machine")
	return cmd
}

func configCheck(w io.Writer, path string, here, asJSON bool) error {
	r := config.Check(path, here, nil)
	if err := writeReport(w, r, asJSON); err != nil {
		return err
	}
	switch n := len(r.Faults); n {
	case 0:
		return nil
	case 1:
		return usageError{fmt.Errorf("%s has a fault", path)}
	default:
		return usageError{fmt.Errorf("%s has %d faults", path, n)}
	}
}

func writeReport(w io.Writer, r *config.Report, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err := r.WriteTo(w)
	return err
}

// newStoragesTopic is help without a command.
func newStoragesTopic() *cobra.Command {
	return &cobra.Command{Use: "storages", Short: "How a command line names a storage", Long: storageHelp}
}
