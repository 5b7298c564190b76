package wire

import (
	"errors"
	"fmt"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// What clients read out of the replies of a server.

// ResultOIDs reads a result that is a list, or tuple, of oids.
func (m *Message) ResultOIDs() (oids []zodb.OID, err error) {
	if !m.Tuple {
		return m.OIDs(0, nil)
	}
	for i := range m.Args {
		oid, err := m.OID(i)
		if err != nil {
			return nil, err
		}
		oids = append(oids, oid)
	}
	return oids, nil
}

// ParseVotes reads the answer to vote: the oids whose states the server has changed,
// or conflicts for the client to merge. It aliases nothing.
func (m *Message) ParseVotes() (votes zodb.Votes, err error) {
	if votes.Resolved, err = m.ResultOIDs(); err == nil {
		return votes, nil
	}
	votes.Resolved = nil
	result, err := m.Result()
	if err != nil {
		return votes, err
	}
	items, ok := itemsOf(result)
	if !ok {
		return votes, fmt.Errorf("wire: a vote's result is no list: %.50T", result)
	}
	for _, item := range items {
		d, ok := item.(*pickle.Dict)
		if !ok {
			return votes, fmt.Errorf("wire: in a vote's result, neither an oid nor a conflict: %.50T", item)
		}
		k, err := parseVoteConflict(d)
		if err != nil {
			return votes, err
		}
		votes.Conflicts = append(votes.Conflicts, k)
	}
	return votes, nil
}

var errConflict = errors.New("wire: a conflict without oid, serials and data")

// parseVoteConflict reads {oid, serials: (committed, read), data}.
func parseVoteConflict(d *pickle.Dict) (k zodb.Conflict, err error) {
	oid, _ := d.Get("oid")
	var ok bool
	if k.OID, ok = asOID(oid); !ok {
		return k, errConflict
	}
	serials, _ := d.Get("serials")
	pair, _ := itemsOf(serials)
	if len(pair) != 2 {
		return k, errConflict
	}
	k.Committed, k.Read = asTID(pair[0]), asTID(pair[1])
	v, _ := d.Get("data")
	data, ok := pickle.Bytes(v)
	if !ok || k.Committed == 0 {
		return k, errConflict
	}
	k.Data = append([]byte{}, data...)
	return k, nil
}
