package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// Each file of testdata/corpus, written after one found in the wild, gives the
// report in its .expected.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.conf")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var got strings.Builder
			if _, err := Check(file, false, environ).WriteTo(&got); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, strings.TrimSuffix(file, ".conf")+".expected", got.String())
		})
	}
}
