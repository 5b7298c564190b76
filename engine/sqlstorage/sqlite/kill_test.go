package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

const childDir = "ZARI_SQLITE_CHILD"

// TestMain runs the child of TestKilled, if this is it.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println("error", commitForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// commitForever commits batches of new objects and says which are durable, and which
// oids are taken.
func commitForever(dir string) error {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Create: true})
	if err != nil {
		return err
	}
	e, err := sqlstorage.Open(ctx, db, sqlstorage.Options{Create: true})
	if err != nil {
		return err
	}
	head, _ := e.Head()
	for {
		oids, err := e.NewOIDs(ctx, 3)
		if err != nil {
			return err
		}
		fmt.Println("oids", uint64(oids[0]), uint64(oids[len(oids)-1]))
		var batch []*txnlog.Txn
		for i, oid := range oids {
			batch = append(batch, oneTxn(head+zodb.TID(i)+1, oid, 0)...)
		}
		if _, err := e.Append(ctx, batch, nil); err != nil {
			return err
		}
		head += zodb.TID(len(batch))
		fmt.Println("durable", uint64(head))
	}
}

// TestKilled kills a process that commits, again and again: what it has called durable
// is there, batches are whole, oids are not given twice, and the next one can write.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	var durable, taken uint64
	for round := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var a, b uint64
			if _, err := fmt.Sscanf(lines.Text(), "durable %d", &a); err == nil {
				durable = a
			} else if _, err := fmt.Sscanf(lines.Text(), "oids %d %d", &a, &b); err == nil {
				if a <= taken {
					t.Errorf("round %d: oid %d is given again, %d was given before", round, a, taken)
				}
				taken = b
			} else {
				t.Errorf("round %d: %s", round, lines.Text())
			}
			if n == 40+17*round {
				child.Process.Kill()
			}
		}
		child.Wait()
		checkKilled(t, dir, durable)
	}
}

func checkKilled(t *testing.T, dir string, durable uint64) {
	t.Helper()
	e := openEngine(t, openDB(t, dir), sqlstorage.Options{})
	defer e.Close()
	head, _ := e.Head()
	if uint64(head) < durable || uint64(head)%3 != 0 {
		t.Errorf("the last transaction is %d, %d was durable", head, durable)
	}
	n := 0
	for x, err := range e.Scan(t.Context(), 0, store.Forward) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if want := storagetest.Object(n); x.TID != zodb.TID(n) || string(x.Records[0].Data) != string(want) {
			t.Fatalf("transaction %v in the place of %d", x.TID, n)
		}
	}
	if n != int(head) {
		t.Errorf("%d transactions of %d", n, head)
	}
	if ok := strings.Join(rows(t, dir, "PRAGMA integrity_check"), ","); ok != "ok" {
		t.Error(ok)
	}
}
