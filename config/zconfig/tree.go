package zconfig

import (
	"fmt"
	"strings"
)

// Pos is a line of a file. Lines count from 1; 0 stands for the file as a whole.
type Pos struct {
	File string
	Line int
}

// String returns FILE:LINE, as compilers print it.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Document is what a file and its includes hold.
type Document struct {
	Section             // the outermost section, without type and name
	Imports []Import    // in the order of reading
	Files   []string    // the file and its includes, in the order of reading; one read twice is there twice
	Environ []Reference // the first ${NAME} for each environment variable: ZConfig refuses them
}

// Reference is a place where a name is used.
type Reference struct {
	Name string
	Pos  Pos
}

// Import is a line %import PACKAGE.
type Import struct {
	Package string
	Pos     Pos
}

// Section is one section of a file.
type Section struct {
	Type     string // in lower case
	Name     string // in lower case, "" for none
	Pos      Pos    // of its first line
	End      Pos    // of its last line, </TYPE>; that of an empty section is its first; zero for the outermost
	Keys     []Key
	Sections []*Section
}

// String returns the section's header.
func (s *Section) String() string {
	if s.Name == "" {
		return "<" + s.Type + ">"
	}
	return "<" + s.Type + " " + s.Name + ">"
}

// Key is one line of a section. Name is as it was written; Value has its
// replacements made, and may be empty.
type Key struct {
	Name  string
	Value string
	Pos   Pos
}

// Lower returns the key's name in the form that ZConfig's basic-key compares.
func (k Key) Lower() string { return strings.ToLower(k.Name) }

// Error is a fault in a file.
type Error struct {
	Pos  Pos
	Msg  string
	Hint string // what to do about it, "" for nothing to say
	Err  error  // the cause, nil for none
}

// Errorf returns an error at pos without a hint.
func Errorf(pos Pos, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...)}
}

// Error returns "FILE:LINE: message (hint)".
func (e *Error) Error() string {
	s := e.Pos.String() + ": " + e.Msg
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
