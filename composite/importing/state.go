package importing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// State is how far an import is, and what must not be forgotten about it.
type State struct {
	Source string   // the source's name, for people
	Last   zodb.TID // the source's last transaction
	Next   zodb.OID // oids below it may have been handed out
	Done   bool     // the destination is the database
}

// stateFile is a State in JSON. Numbers are in hexadecimal, since JSON's own lose
// precision in many readers.
type stateFile struct {
	Format int    `json:"format"`
	State  string `json:"state"` // "importing" or "done"
	Source string `json:"source"`
	Last   string `json:"source_last_tid"`
	Next   string `json:"next_oid"`
}

const (
	stateFormat  = 1
	maxStateFile = 1 << 16
)

// File keeps the state of an import. It is replaced as a whole, so a crash leaves
// the old or the new one.
type File struct {
	FS   vfs.FS
	Path string
}

// Load returns the state, or an error that matches fs.ErrNotExist if no import was
// begun.
func (f File) Load() (State, error) {
	file, err := f.FS.OpenFile(f.Path, os.O_RDONLY, 0)
	if err != nil {
		return State{}, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxStateFile))
	if err != nil {
		return State{}, fmt.Errorf("state of an import: %w", err)
	}
	s, err := decodeState(b)
	if err != nil {
		return State{}, fmt.Errorf("state of an import: %w", &zodb.CorruptError{File: f.Path, Record: "state", Err: err})
	}
	return s, nil
}

func decodeState(b []byte) (s State, err error) {
	var f stateFile
	if err := json.Unmarshal(b, &f); err != nil {
		return State{}, err
	}
	switch {
	case f.Format != stateFormat:
		return State{}, fmt.Errorf("its format is %d; this version knows %d", f.Format, stateFormat)
	case f.State != "importing" && f.State != "done":
		return State{}, fmt.Errorf("%q is neither importing nor done", f.State)
	}
	s = State{Source: f.Source, Done: f.State == "done"}
	_, err1 := fmt.Sscanf(f.Last, "%x", (*uint64)(&s.Last))
	_, err2 := fmt.Sscanf(f.Next, "%x", (*uint64)(&s.Next))
	return s, errors.Join(err1, err2)
}

// Save makes the state durable.
func (f File) Save(s State) error {
	out := stateFile{
		Format: stateFormat, State: "importing", Source: s.Source,
		Last: s.Last.String(), Next: fmt.Sprintf("%016x", uint64(s.Next)),
	}
	if s.Done {
		out.State = "done"
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err == nil {
		err = f.replace(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("saving the state of an import: %w", err)
	}
	return nil
}

func (f File) replace(b []byte) error {
	fresh := f.Path + ".new"
	file, err := f.FS.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := f.FS.Rename(fresh, f.Path); err != nil {
		return err
	}
	return f.FS.SyncDir(filepath.Dir(f.Path))
}

// Unfinished reports whether an import into a destination has begun and is not
// done: then the destination is only a part of the database.
func (f File) Unfinished() (bool, error) {
	s, err := f.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && !s.Done, err
}
