package objstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Prices are what a store bills, in US dollars. Tables of them are JSON, an array of
// these objects; fields that are left out cost nothing.
type Prices struct {
	Name string `json:"name"`
	Note string `json:"note,omitempty"` // where they are from, and when

	// For a million requests. One that failed is billed as one that did not.
	Put    float64 `json:"put_per_million"`
	Get    float64 `json:"get_per_million"` // and HEAD
	List   float64 `json:"list_per_million"`
	Delete float64 `json:"delete_per_million"`

	// For 10^9 bytes, as the bills have it.
	Stored   float64 `json:"stored_per_gb_month"`
	Upload   float64 `json:"upload_per_gb"`
	Download float64 `json:"download_per_gb"`
}

// KnownPrices returns the list prices of some stores, the first of them S3 Standard. They
// were right at the time that their notes say, without taxes, rebates and free tiers.
func KnownPrices() []Prices {
	return []Prices{
		{
			Name: "s3-standard", Note: "Amazon S3 Standard, us-east-1, read from the same region, 2026-11",
			Put: 5, List: 5, Get: 0.4, Stored: 0.023,
		},
		{
			Name: "s3-standard-internet", Note: "the same, read from outside of AWS, first 10 TB a month, 2026-11",
			Put: 5, List: 5, Get: 0.4, Stored: 0.023, Download: 0.09,
		},
		{
			Name: "s3-express", Note: "Amazon S3 Express One Zone, us-east-1, 2026-11",
			Put: 1.13, List: 1.13, Get: 0.03, Stored: 0.11, Upload: 0.0032, Download: 0.0006,
		},
		{
			Name: "r2", Note: "Cloudflare R2 Standard, 2026-11",
			Put: 4.5, List: 4.5, Get: 0.36, Stored: 0.015,
		},
		{Name: "own", Note: "a store of one's own: requests cost nothing"},
	}
}

// ReadPrices reads a table, which is at most a megabyte.
func ReadPrices(r io.Reader) ([]Prices, error) {
	var table []Prices
	d := json.NewDecoder(io.LimitReader(r, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(&table); err != nil {
		return nil, fmt.Errorf("a table of prices is a JSON array: %w", err)
	}
	if d.More() {
		return nil, errors.New("a table of prices has something behind its end")
	}
	names := make(map[string]bool)
	for i, p := range table {
		if p.Name == "" || names[p.Name] {
			return nil, fmt.Errorf("prices number %d have no name of their own: %q", i+1, p.Name)
		}
		names[p.Name] = true
		for _, price := range []float64{p.Put, p.Get, p.List, p.Delete, p.Stored, p.Upload, p.Download} {
			if price < 0 {
				return nil, fmt.Errorf("prices %q: less than nothing", p.Name)
			}
		}
	}
	return table, nil
}

// WritePrices writes a table, to be edited.
func WritePrices(w io.Writer, table []Prices) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(table)
}

// Month is the length of a month in bills.
const Month = 730 * time.Hour

// Cost is what a month costs, in US dollars.
type Cost struct {
	Put      float64 `json:"put"`
	Get      float64 `json:"get"` // and HEAD
	List     float64 `json:"list"`
	Delete   float64 `json:"delete"`
	Stored   float64 `json:"stored"`
	Transfer float64 `json:"transfer"`
	Total    float64 `json:"total"`
}

// Month returns what a month costs that goes on like counts, which were taken over the
// given time, with so many bytes stored. Without a time only what is stored costs.
func (p Prices) Month(counts Counts, over time.Duration, stored int64) Cost {
	months := 0.0 // as many as over goes into a month
	if over > 0 {
		months = Month.Seconds() / over.Seconds()
	}
	requests := func(n int64, perMillion float64) float64 { return float64(n) * months * perMillion / 1e6 }
	c := Cost{
		Put:    requests(counts.Put, p.Put),
		Get:    requests(counts.Get+counts.Head, p.Get),
		List:   requests(counts.List, p.List),
		Delete: requests(counts.Delete, p.Delete),
		Stored: float64(stored) / 1e9 * p.Stored,
		Transfer: float64(counts.BytesIn)/1e9*months*p.Upload +
			float64(counts.BytesOut)/1e9*months*p.Download,
	}
	c.Total = c.Put + c.Get + c.List + c.Delete + c.Stored + c.Transfer
	return c
}
