package wire

import (
	"errors"
	"fmt"
)

// Codec is the encoding of a connection, by the letter of the handshake.
type Codec byte

// The encodings.
const (
	Pickle  Codec = 'Z'
	Msgpack Codec = 'M'
)

// Version is the only version of the protocol that is spoken.
const Version = "5"

// ErrRuok is what [ParseHello] returns for a client that only asks how the
// server is: the answer is one frame of JSON.
var ErrRuok = errors.New("wire: the client asks for the server's state")

// Ruok is that client's frame.
const Ruok = "ruok"

// String returns "pickle" or "msgpack".
func (c Codec) String() string {
	switch c {
	case Pickle:
		return "pickle"
	case Msgpack:
		return "msgpack"
	}
	return fmt.Sprintf("codec %q", byte(c))
}

// Hello returns the contents of the frame by which a server offers the encoding
// and a client chooses it.
func (c Codec) Hello() []byte { return []byte(string(rune(c)) + Version) }

// ParseHello reads the other side's first frame.
func ParseHello(frame []byte) (Codec, error) {
	if string(frame) == Ruok {
		return 0, ErrRuok
	}
	if len(frame) < 2 || string(frame[1:]) != Version {
		return 0, fmt.Errorf("wire: a handshake of %.20q", frame)
	}
	switch c := Codec(frame[0]); c {
	case Pickle, Msgpack:
		return c, nil
	}
	return 0, fmt.Errorf("wire: an unknown encoding %q", frame[0])
}
