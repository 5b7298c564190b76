package objstore

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func near(a, b float64) bool { return math.Abs(a-b) < 0.01 }

func TestMonth(t *testing.T) {
	s3 := KnownPrices()[0]
	// A million PUTs a month are five dollars, a PUT a second is thirteen.
	if c := s3.Month(Counts{Put: 1e6}, Month, 0); !near(c.Put, 5) || !near(c.Total, 5) {
		t.Errorf("%+v", c)
	}
	if c := s3.Month(Counts{Put: 60}, time.Minute, 0); !near(c.Put, 13.14) {
		t.Errorf("%+v", c)
	}
	c := s3.Month(Counts{Get: 1e6, Head: 1e6, List: 1e6, Delete: 1e6, BytesOut: 1e12}, Month, 100e9)
	if want := (Cost{Get: 0.8, List: 5, Stored: 2.3, Total: 8.1}); !near(c.Get, want.Get) || !near(c.List, want.List) ||
		!near(c.Stored, want.Stored) || c.Delete != 0 || c.Transfer != 0 || !near(c.Total, want.Total) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	express := KnownPrices()[2]
	if c := express.Month(Counts{BytesIn: 1e12, BytesOut: 1e12}, Month, 0); !near(c.Transfer, 3.8) {
		t.Errorf("%+v", c)
	}
	if c := s3.Month(Counts{Put: 5}, 0, 1e9); !near(c.Total, 0.023) {
		t.Errorf("nothing measured: %+v", c)
	}
}

func TestPricesAreEdited(t *testing.T) {
	var b bytes.Buffer
	if err := WritePrices(&b, KnownPrices()); err != nil {
		t.Fatal(err)
	}
	table, err := ReadPrices(strings.NewReader(strings.Replace(b.String(), `"put_per_million": 5`, `"put_per_million": 7`, 1)))
	if err != nil || table[0].Put != 7 || !slices.Equal(table[1:], KnownPrices()[1:]) {
		t.Errorf("%+v %v", table, err)
	}
	for _, text := range []string{"", "{}", `[{"name":""}]`, `[{"name":"a"},{"name":"a"}]`, `[{"name":"a","put":5}]`, `[{"name":"a","put_per_million":-5}]`, `[] []`} {
		if table, err := ReadPrices(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %+v", text, table)
		}
	}
}
