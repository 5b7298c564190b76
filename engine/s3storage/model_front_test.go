package s3storage

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/memory"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

// With a front all of this is true of the front and the bucket together, and the bucket alone is
// always a beginning of it. Writers enter and leave the front as they please.
func TestModelFront(t *testing.T) { testModel(t, modelFront, 2) }

// With disks of their own writers give up what they cannot get at, also that of one
// who goes on all the while. What is committed may be lost then. What is true still is that the
// bucket has one history, whoever reads knows that, and a commit that was refused never comes to be.
func TestModelForks(t *testing.T) { testModel(t, modelForks, 2) }

type modelKind string

const (
	modelBucket modelKind = "bucket"
	modelFront  modelKind = "front"
	modelForks  modelKind = "forks"
)

// modelDisk is where a writer has its fronts.
type modelDisk struct {
	memory *memory.Memory
	bucket *fake.Bucket
}

// makeFronts gives the writers one place for fronts, or one each.
func (m *model) makeFronts(now func() time.Time) {
	m.fronts = make(map[string]modelDisk)
	shared := modelDisk{memory.New(layout.OnDisk), fake.NewBucket(fake.Options{Now: now, OnChange: m.changedFront})}
	for _, name := range []string{"w1", "w2", "last"} {
		switch m.kind {
		case modelFront:
			m.fronts[name] = shared
		case modelForks:
			m.fronts[name] = modelDisk{memory.New(layout.OnDisk), fake.NewBucket(fake.Options{Now: now})}
		}
	}
}

// places are the fronts of a writer, which fail as the bucket does.
func (m *model) places(name string) []front.Place {
	disk, ok := m.fronts[name]
	if !ok {
		return nil
	}
	client := disk.bucket.Open(name)
	client.SetRule(func(op fake.Op) fake.Fault {
		m.pause()
		return m.faults(op)
	})
	return []front.Place{disk.memory.Open(client)}
}

func (m *model) anyFront() layout.FrontKind {
	if m.kind != modelBucket && m.rnd.IntN(4) > 0 {
		return layout.OnDisk
	}
	return layout.InBucket
}

// wanted is what must have happened.
func (m *model) wanted() []string {
	list := []string{"acked", "unknown", "refused", "takeovers", "compacted", "crashes", "followed", "settled", "packs", "dropped"}
	switch m.kind {
	case modelFront:
		list = append(list, "moved", "entered", "left")
	case modelForks:
		list = append(list, "moved", "abandoned", "forked")
	}
	return list
}

// changedFront sees every change of the front that all share.
func (m *model) changedFront(key string, body []byte) {
	if n, ok := memory.SlotOf(key); ok {
		m.next(n, body)
	}
}

// fence notes what a fence says.
func (m *model) fence(l *layout.Log) {
	switch {
	case l.Fence == nil:
	case l.Fence.Front.Kind == layout.InBucket:
		m.count["left"]++
	default:
		m.count["entered"]++
	}
}

// openWriter opens a database to write. With disks of their own writers give up what is on
// another one, now and then.
func (m *model) openWriter(name string, kind layout.FrontKind) (*Engine, error) {
	o := m.options(name, false)
	o.Log = kind
	e, err := Open(context.Background(), o)
	for {
		lost, ok := errors.AsType[*FrontError](err)
		if !ok || m.kind != modelForks || name != "last" && m.rnd.IntN(4) > 0 {
			return e, err
		}
		m.count["abandoned"]++
		o = m.options(name, false)
		o.Log, o.Abandon = kind, lost.Front.ID
		e, err = Open(context.Background(), o)
	}
}

// bringHome moves, at the end, what is in a front to the bucket.
func (m *model) bringHome() error {
	for _, disk := range m.fronts {
		disk.bucket.Land()
	}
	if m.kind == modelBucket {
		return nil
	}
	_, err := m.openWriter("last", layout.InBucket)
	return err
}

// forked checks what a writer says whose moving has ended for good.
func (m *model) forked(e *Engine, err error) {
	if !errors.Is(err, errForked) {
		return
	}
	m.count["forked"]++
	if last := m.slots[len(m.slots)-1]; m.kind == modelFront && e.st.epoch == last.epoch {
		m.fail("the writer of epoch %d has not been superseded, and says so: %w", last.epoch, err)
	}
}
