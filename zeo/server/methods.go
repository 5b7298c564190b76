package server

import (
	"errors"

	"github.com/zaridb/zari/zeo/wire"
)

// method is what a client may call.
type method struct {
	run  func(x *session, m *wire.Message) (any, error)
	slow bool // may wait: runs beside the reader
}

// errAnswered says that the answer is queued already, or will be.
var errAnswered = errors.New("answered")

// methods are all that a client may call, by name. loadBefore is executed before
// this table is looked at where its message has the usual form.
var methods = map[string]method{
	"register":         {run: register},
	"get_info":         {run: getInfo},
	"lastTransaction":  {run: lastTransaction},
	"getInvalidations": {run: getInvalidations, slow: true},
	"ping":             {run: ping},
	"new_oids":         {run: newOIDs, slow: true},
	"server_status":    {run: serverStatus},
	"set_client_label": {run: setClientLabel},
	"zari_outcome":     {run: outcome, slow: true},

	"loadBefore":      {run: loadBefore},
	"loadSerial":      {run: loadSerial, slow: true},
	"getTid":          {run: getTid, slow: true},
	"history":         {run: history, slow: true},
	"record_iternext": {run: recordIternext, slow: true},
	"new_oid":         {run: noSuchAttribute},

	"tpc_begin":                       {run: tpcBegin},
	"storea":                          {run: storea},
	"deleteObject":                    {run: deleteObject},
	"checkCurrentSerialInTransaction": {run: checkCurrent},
	"restorea":                        {run: restorea},
	"undoa":                           {run: undoa},
	"vote":                            {run: vote},
	"tpc_finish":                      {run: tpcFinish},
	"tpc_abort":                       {run: tpcAbort},

	"storeBlobStart":      {run: storeBlobStart},
	"storeBlobChunk":      {run: storeBlobChunk},
	"storeBlobEnd":        {run: storeBlobEnd},
	"zari_restoreBlobEnd": {run: restoreBlobEnd},
	"storeBlobShared":     {run: storeBlobShared},
	"sendBlob":            {run: sendBlob, slow: true},

	"pack":     {run: pack},
	"undoLog":  {run: undoLog, slow: true},
	"undoInfo": {run: undoInfo, slow: true},

	"iterator_start":        {run: iteratorStart},
	"iterator_next":         {run: iteratorNext},
	"iterator_record_start": {run: iteratorRecordStart},
	"iterator_record_next":  {run: iteratorRecordNext},
	"iterator_gc":           {run: iteratorGC},
}

// noSuchAttribute answers for what Python's server allows by name but does not have.
func noSuchAttribute(x *session, m *wire.Message) (any, error) {
	return nil, wire.NewPyError(wire.AttributeError, "'ZEOStorage' object has no attribute '"+m.Method+"'")
}
