package objstore

import "sync/atomic"

// Counts are requests as a store bills them: every attempt counts, a failed one too.
type Counts struct {
	Put    int64 // PUT, and every request of an upload in parts but its abort
	Get    int64
	Head   int64
	List   int64 // one for each page of at most 1000 objects
	Delete int64 // and aborted uploads
	Errors int64 // of all these: those that ended in anything but success; 404 and 412 count

	BytesIn  int64 // written to the store
	BytesOut int64 // read from it
}

// Counting is a Store that counts its requests.
type Counting interface {
	Counts() Counts // since it was opened
}

// Sub returns what came after an earlier reading.
func (c Counts) Sub(earlier Counts) Counts {
	return Counts{
		Put: c.Put - earlier.Put, Get: c.Get - earlier.Get, Head: c.Head - earlier.Head,
		List: c.List - earlier.List, Delete: c.Delete - earlier.Delete, Errors: c.Errors - earlier.Errors,
		BytesIn: c.BytesIn - earlier.BytesIn, BytesOut: c.BytesOut - earlier.BytesOut,
	}
}

// Add returns both together.
func (c Counts) Add(d Counts) Counts { return c.Sub(Counts{}.Sub(d)) }

// Requests is the number of all requests.
func (c Counts) Requests() int64 { return c.Put + c.Get + c.Head + c.List + c.Delete }

// Meter counts for an implementation of Store. The zero Meter is ready for use.
type Meter struct {
	Put, Get, Head, List, Delete, Errors atomic.Int64
	BytesIn, BytesOut                    atomic.Int64
}

// Counts returns what was counted.
func (m *Meter) Counts() Counts {
	return Counts{
		Put: m.Put.Load(), Get: m.Get.Load(), Head: m.Head.Load(), List: m.List.Load(),
		Delete: m.Delete.Load(), Errors: m.Errors.Load(),
		BytesIn: m.BytesIn.Load(), BytesOut: m.BytesOut.Load(),
	}
}
