package pickle

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPythonLoadsEqual has Python load pickles of all protocols and what Encode
// made of them. ZARI_PYTHON names a Python.
func TestPythonLoadsEqual(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON is not set")
	}
	all := goldens(t, "pickle")
	for name, in := range map[string]string{ // what goldens have not
		"set":       "\x80\x04\x8f(K\x01K\x02\x90.",
		"frozenset": "\x80\x04(K\x01K\x02\x91.",
		"bytearray": "\x80\x05\x96\x03\x00\x00\x00\x00\x00\x00\x00abc.",
		"newobj":    "\x80\x04capp\nThing\nK\x01\x85\x81}X\x01\x00\x00\x00aK\x01sb.",
		"newobjex":  "\x80\x04capp\nThing\nK\x01\x85}X\x01\x00\x00\x00aK\x01s\x92.",
		"reduce":    "\x80\x04capp\nThing\nK\x01K\x02\x86RK\x05b.",
		"obj":       "\x80\x02(capp\nThing\nK\x01o.",
		"inst":      "(K\x01iapp\nThing\n.",
		"py2 str":   "\x80\x02U\x03abc.",
		"shared":    "\x80\x04]\x94(\x8f\x94h\x01e.",
	} {
		all = append(all, golden{name: strings.ReplaceAll(name, " ", "-"), data: []byte(in)})
	}
	var in bytes.Buffer
	for _, g := range all {
		v, err := Decode(g.data)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		out, err := Encode(v)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		fmt.Fprintf(&in, "%s %x %x\n", g.name, g.data, out)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/equal.py")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(all) {
		t.Fatalf("%d answers to %d lines", len(lines), len(all))
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, " equal") {
			t.Errorf("%.500s", line)
		}
	}
}
