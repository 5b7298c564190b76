package check_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func TestAnalyze(t *testing.T) {
	b := build(t)
	length := func(class string, state any) int64 {
		record, err := pickle.EncodeRecord(&pickle.Global{Module: "app", Name: class}, state)
		if err != nil {
			t.Fatal(err)
		}
		return int64(len(record))
	}
	b.put(object{oid: 0, class: "app.Folder", state: "x"}, object{oid: 1, class: "app.Page", state: "first"})
	b.put(object{oid: 1, class: "app.Page", state: "second text"}, object{oid: 2, class: "app.Page", state: "2"})
	b.put(object{oid: 3, class: "app.Gone", state: "3"}, object{oid: 4, raw: []byte("no pickle")})
	b.remove(3)
	a, err := check.Analyze(t.Context(), b.s, check.AnalyzeOptions{Period: check.ByYear, Largest: 2, Report: &check.Report{}})
	if err != nil {
		t.Fatal(err)
	}
	second, two := length("Page", "second text"), length("Page", "2")
	classes := []check.ClassAmount{
		{Class: "app.Page", Current: check.Amount{Records: 2, Bytes: second + two}, Old: check.Amount{Records: 1, Bytes: length("Page", "first")}},
		{Class: "app.Folder", Current: check.Amount{Records: 1, Bytes: length("Folder", "x")}},
		{Class: "app.Gone", Old: check.Amount{Records: 1, Bytes: length("Gone", "3")}},
		{Class: "(unreadable)", Current: check.Amount{Records: 1, Bytes: 9}},
	}
	if d := cmp.Diff(classes, a.Classes); d != "" {
		t.Error(d)
	}
	if a.Transactions != 4 || a.Deleted != 1 || a.Current.Records != 4 || a.Old.Records != 2 || a.Bytes == 0 {
		t.Errorf("%+v", a)
	}
	if d := cmp.Diff([]check.Large{
		{Object: check.Object{OID: zodb.OID(1).String(), Class: "app.Page"}, Bytes: second},
		{Object: check.Object{OID: zodb.OID(0).String(), Class: "app.Folder"}, Bytes: length("Folder", "x")},
	}, a.Largest); d != "" {
		t.Error(d)
	}
	if len(a.Growth) != 1 || a.Growth[0].New != 5 || a.Growth[0].Records != 7 || a.Growth[0].Bytes != a.Bytes {
		t.Errorf("growth: %+v", a.Growth)
	}
}
