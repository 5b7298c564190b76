package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main is the main function of a benchmark: it runs what parse makes of the command
// line, until that is done or the program is interrupted. A wrong command line ends
// the program with 2, a failure with 1.
func Main[B any](name string, parse func(args []string) (B, error), run func(B, context.Context) error) {
	b, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fail(name, err, 2)
	}
	finish(name, func(ctx context.Context) error { return run(b, ctx) })
}

// Role makes the program do something else, and end, if its first argument is the
// name of that. So a part of a benchmark gets a process of its own to be measured.
func Role(name string, do func(ctx context.Context, args []string) error) {
	if len(os.Args) > 1 && os.Args[1] == name {
		finish(name, func(ctx context.Context) error { return do(ctx, os.Args[2:]) })
	}
}

func finish(name string, do func(context.Context) error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := do(ctx); err != nil {
		fail(name, err, 1)
	}
	os.Exit(0)
}

func fail(name string, err error, code int) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(code)
}
