package wire

import (
	"errors"
	"fmt"
)

// Bounds of one message, besides the size of its frame.
const (
	maxValues = 1 << 20
	maxDepth  = 100
)

var errMessage = errors.New("wire: not a message (id, flag, name, arguments)")

// Parse decodes a frame's contents into m, which may have been used before. What
// is in m then aliases the frame. An error means that the other side does not
// speak the protocol, and that the connection is to be closed.
func (c Codec) Parse(frame []byte, m *Message) error {
	m.reset(c)
	switch c {
	case Pickle:
		if parsePickle(frame, m) {
			return nil
		}
		m.reset(c)
		return parsePickleTree(frame, m)
	case Msgpack:
		return parseMsgpack(frame, m)
	}
	return fmt.Errorf("wire: %v", c)
}

// Decode is Parse into a message that is new.
func (c Codec) Decode(frame []byte) (*Message, error) {
	m := new(Message)
	if err := c.Parse(frame, m); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Message) reset(c Codec) {
	clear(m.Args)
	*m = Message{Args: m.Args[:0], codec: c}
}

// methodName returns the name as a string; for the known ones without allocation.
func methodName(b []byte) string {
	switch string(b) {
	case Reply:
		return Reply
	case "loadBefore":
		return "loadBefore"
	case "storea":
		return "storea"
	case "vote":
		return "vote"
	case "tpc_begin":
		return "tpc_begin"
	case "tpc_finish":
		return "tpc_finish"
	case "tpc_abort":
		return "tpc_abort"
	case "checkCurrentSerialInTransaction":
		return "checkCurrentSerialInTransaction"
	case "invalidateTransaction":
		return "invalidateTransaction"
	case "info":
		return "info"
	case "ping":
		return "ping"
	case "lastTransaction":
		return "lastTransaction"
	case "new_oids":
		return "new_oids"
	case "storeBlobChunk":
		return "storeBlobChunk"
	case "receiveBlobChunk":
		return "receiveBlobChunk"
	}
	return string(b)
}
