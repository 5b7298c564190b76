// Command zari serves ZODB databases, and looks after them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/zodb"
)

// Exit codes, the same for every command.
const (
	exitOK      = 0
	exitFailure = 1 // the command could not do what was asked
	exitUsage   = 2 // the command line or a configuration file is wrong
	exitTrouble = 2 // of commands that compare: they could not
)

// usageError marks errors that end with exitUsage.
type usageError struct{ error }

// errReported ends with exitFailure what has said what is wrong already.
var errReported = errors.New("problems were found")

func (e usageError) Unwrap() error { return e.error }

// troubleError marks errors that end with exitTrouble: of commands whose exit
// status 1 is an answer, as diff's is.
type troubleError struct{ error }

func (e troubleError) Unwrap() error { return e.error }

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	code := exitCode(err)
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, "zari:", config.Redact(err.Error()))
	}
	if hint := nextStep(cmd, err); hint != "" {
		fmt.Fprintln(os.Stderr, hint)
	}
	return code
}

// nextStep tells where somebody with an error learns more; "" if there is no such
// place.
func nextStep(cmd *cobra.Command, err error) string {
	if _, ok := errors.AsType[usageError](err); ok {
		return "Try: " + cmd.CommandPath() + " --help"
	}
	if _, ok := errors.AsType[*zodb.CorruptError](err); ok && strings.HasPrefix(cmd.CommandPath(), "zari s3") {
		return "There may be more damage: zari s3 verify goes on behind it, and tells what it means."
	}
	if _, ok := errors.AsType[*zodb.CorruptError](err); ok {
		return "There may be more damage: zari check goes on behind it, and tells which objects it has hit."
	}
	return ""
}

// exitCode returns the exit status that an error ends with.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[troubleError](err); ok {
		return exitTrouble
	}
	return exitFailure
}

func newRootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "zari",
		Short: "A transactional object store for ZODB",
		Long: `zari serves ZODB databases to unmodified Python applications over the ZEO
protocol.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newServeCommand(),
		newInitCommand(),
		newConfigCommand(),
		newShowCommand(),
		newRefsCommand(),
		newCheckCommand(),
		newAnalyzeCommand(),
		newGCCommand(),
		newCopyCommand(),
		newDumpCommand(),
		newUndumpCommand(),
		newHistoryCommand(),
		newUndoCommand(),
		newDiffCommand(),
		newPackCommand(),
		newS3Command(),
		newBranchCommand(),
		newBenchCommand(),
		newStoragesTopic(),
	)
	return root
}

// usageArgs makes what a check of arguments finds a usageError.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w\nUsage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}

// group makes cmd, which only has commands below it, say so when it is given none
// of them.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("there is no command %q", strings.TrimPrefix(cmd.CommandPath()+" "+args[0], "zari "))}
		}
		return cmd.Help()
	}
	return cmd
}

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(development)"
	}
	return info.Main.Version
}
