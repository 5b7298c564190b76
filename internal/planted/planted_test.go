package planted

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// Both files must declare exactly the bugs that Names lists: as constants in a
// normal build, so that hooks vanish, and as variables in the other.
func TestFilesDeclareEveryName(t *testing.T) {
	for file, kind := range map[string]token.Token{"off.go": token.CONST, "on.go": token.VAR} {
		got := declared(t, file, kind)
		if !slices.Equal(got, Names()) {
			t.Errorf("%s declares %q,\nwant %q", file, got, Names())
		}
	}
}

// declared returns the names of the first declaration of the given kind.
func declared(t *testing.T, file string, kind token.Token) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != kind {
			continue
		}
		for _, s := range g.Specs {
			names = append(names, s.(*ast.ValueSpec).Names[0].Name)
		}
		return names
	}
	t.Fatalf("%s has no declaration of the kind %v", file, kind)
	return nil
}
