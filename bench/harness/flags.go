package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Flags are the flags of a benchmark: those of package flag, and some that several
// benchmarks have.
type Flags struct {
	*flag.FlagSet
	programs []*string
}

// NewFlags returns flags for the benchmark of that name.
func NewFlags(name string) *Flags {
	return &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
}

// Zari adds the flag that names the zari program.
func (f *Flags) Zari(p *string) {
	f.program(p, "zari", filepath.Join("bin", "zari"), "the zari `program`")
}

// Python adds the flag that names a Python that has the packages. It is $ZARI_PYTHON
// otherwise, or the one that make venv makes.
func (f *Flags) Python(p *string, packages string) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		python = filepath.Join(".venv", "bin", "python")
	}
	f.program(p, "python", python, "a Python `program` with "+packages)
}

func (f *Flags) program(p *string, name, value, usage string) {
	f.StringVar(p, name, value, usage)
	f.programs = append(f.programs, p)
}

// Choice adds a flag that chooses some of names; all of them are chosen without it.
func (f *Flags) Choice(p *[]string, name string, names []string, usage string) {
	*p = names
	f.Func(name, usage+", with commas (default all): "+strings.Join(names, ", "), func(value string) error {
		*p = strings.Split(value, ",")
		for _, chosen := range *p {
			if !slices.Contains(names, chosen) {
				return fmt.Errorf("no %q; there are %s", chosen, strings.Join(names, ", "))
			}
		}
		return nil
	})
}

// Parse parses a command line that has flags only, and makes the paths of programs
// absolute: they are started in other directories.
func (f *Flags) Parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("what is %q? There are only flags: see --help", f.Arg(0))
	}
	for _, p := range f.programs {
		found, err := exec.LookPath(*p)
		if err != nil {
			return fmt.Errorf("%w (make build makes bin/zari, and make venv .venv)", err)
		}
		if *p, err = filepath.Abs(found); err != nil {
			return err
		}
	}
	return nil
}
