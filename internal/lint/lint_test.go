// Package lint holds the rules of the tree as tests.
package lint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/zaridb/zari/"

// layers are the packages from the bottom to the top. A package imports only what
// lies below it; what has a longer prefix in the list counts as that.
var layers = []struct {
	prefix string
	layer  int
}{
	{"zodb/pickle", 1}, {"zodb/compressed", 1}, {"zodb", 0},
	{"txnlog", 2}, {"resolve", 2}, {"datafs", 2}, {"blobs", 2}, {"internal", 2},
	{"store", 3},
	{"engine", 4}, {"wrapper", 4}, {"composite", 4}, {"zeo/wire", 4},
	{"zeo/server", 5}, {"zeo/client", 5}, {"check", 5}, {"transfer", 5}, {"storagetest", 5},
	{"config/zconfig", 2}, {"config/pylog", 2}, {"config/mycnf", 2}, {"config", 6}, {"storagetest/bases", 6}, {"engine/sqlstorage/sqltest", 6},
	{"storages", 7}, {"cmd", 7}, {"interop", 7}, {"bench", 7},
}

func layerOf(pkg string) (int, bool) {
	best, layer := -1, 0
	for _, l := range layers {
		if (pkg == l.prefix || strings.HasPrefix(pkg, l.prefix+"/")) && len(l.prefix) > best {
			best, layer = len(l.prefix), l.layer
		}
	}
	return layer, best >= 0
}

// mayImport reports whether package a may import package b.
func mayImport(a, b string) bool {
	la, okA := layerOf(a)
	lb, okB := layerOf(b)
	switch {
	case !okA || !okB:
		return false
	case related(a, b), engineOf(a) != "" && engineOf(a) == engineOf(b): // a package and the parts it keeps in folders of its own
		return true
	case la == 4 || la == 5: // siblings do not know each other, but zeo speaks zeo/wire
		return lb < la && (la == 5 || lb < 4) && (lb < 4 || b == "zeo/wire")
	case la == 2:
		return lb < 2 || strings.HasPrefix(b, "internal/")
	}
	return lb <= la
}

// related reports whether one of the packages lies in the folder of the other.
func related(a, b string) bool {
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// engineOf returns which engine a package is a part of, "" if of none.
func engineOf(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "engine/")
	name, _, _ := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return name
}

func TestImportsRunOneWay(t *testing.T) {
	eachGoFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		for _, imported := range importsOf(t, path) {
			if rest, ok := strings.CutPrefix(imported, module); ok && !mayImport(pkg, rest) {
				t.Errorf("%s: package %s may not import %s", path, pkg, rest)
			}
		}
	})
}

func TestZodbImportsTheStandardLibraryOnly(t *testing.T) {
	eachGoFile(t, func(path string) {
		if filepath.ToSlash(filepath.Dir(path)) != "zodb" || strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, imported := range importsOf(t, path) {
			if strings.Contains(strings.Split(imported, "/")[0], ".") {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	})
}

func TestNoForbiddenNames(t *testing.T) {
	eachGoFile(t, func(path string) {
		for _, part := range strings.Split(filepath.ToSlash(filepath.Dir(path)), "/") {
			if part == "util" || part == "utils" || part == "common" || part == "helpers" {
				t.Errorf("%s: a package is named after what is in it", path)
			}
		}
		src, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(src), "\nfunc init()") {
			t.Errorf("%s: func init: what runs at start stands in main or in Open", path)
		}
	})
}

const root = "../.."

func eachGoFile(t *testing.T, fn func(path string)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (strings.HasPrefix(name, ".") && path != root || name == "testdata" || name == "var" || name == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			n++
			fn(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 50 {
		t.Fatalf("only %d Go files were found", n)
	}
}

func importsOf(t *testing.T, path string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}
