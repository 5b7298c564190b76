package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/zodb"
)

func TestUndoExamples(t *testing.T) {
	s, _ := plainSample(t)
	runExamples(t, undoExample, " Data.fs", " "+s.path, "03f1a2b3c4d5e6f7", s.tids[4].String(), "03f1a2b3c4d5e700", s.tids[3].String())
	log := zariOK(t, "undo", "--log", s.path)
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != 7 || !strings.HasSuffix(lines[0], `user="admin" description="undo of a mistake"`) || !strings.HasSuffix(lines[1], `description="undo `+s.tids[4].String()+`"`) {
		t.Errorf("%s", log)
	}
}

func TestUndo(t *testing.T) {
	s, _ := plainSample(t)
	if code, _, errOut := zari(t, "undo", s.path, s.tids[0].String()); code != exitFailure || !strings.Contains(errOut, "modified by a later") {
		t.Errorf("of what was changed since: exit status %d\n%s", code, errOut)
	}
	var u undone
	if err := json.Unmarshal([]byte(zariOK(t, "undo", "--json", s.path, s.tids[4].String(), s.tids[2].String(), s.tids[1].String())), &u); err != nil || len(u.Undone) != 3 || len(u.OIDs) < 2 {
		t.Fatalf("%+v, %v", u, err)
	}
	st := s.open(t)
	defer st.Close()
	rec, err := st.LoadBefore(context.Background(), 1, zodb.MaxTID)
	if err != nil || rec.Serial.String() != u.TID || string(rec.Data) != string(record(t, "app.Document", 0)) {
		t.Errorf("%q of %v, %v", rec.Data, rec.Serial, err)
	}
}

func TestUndoUsage(t *testing.T) {
	s, path := plainSample(t)
	tid := s.tids[4].String()
	for _, args := range [][]string{{}, {path}, {"--log", path, tid}, {path, "2026-11-01"}, {path, "x"}, {"--log", "-n", "0", path}} {
		if code, _, _ := zari(t, append([]string{"undo"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit status %d", args, code)
		}
	}
	for _, args := range [][]string{{path, "0000000000000001"}, {"memory://x", tid}, {"--log", "memory://x"}, {filepath.Join(path, "absent"), tid}} {
		if code, _, _ := zari(t, append([]string{"undo"}, args...)...); code != exitFailure {
			t.Errorf("%v: exit status %d", args, code)
		}
	}
}
