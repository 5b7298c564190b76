package zodb

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
)

// Tokens makes tokens that nobody else makes: a random part for the process, and
// a count. It is safe for concurrent use.
type Tokens struct {
	prefix [8]byte
	count  atomic.Uint64
}

// NewTokens returns a source of tokens.
func NewTokens() *Tokens {
	t := new(Tokens)
	rand.Read(t.prefix[:])
	return t
}

// Next returns a token that is not zero and was not returned before.
func (t *Tokens) Next() (token Token) {
	copy(token[:8], t.prefix[:])
	binary.BigEndian.PutUint64(token[8:], t.count.Add(1))
	return token
}
