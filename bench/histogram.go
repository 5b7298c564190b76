package bench

import (
	"math"
	"math/bits"
	"time"
)

// A Histogram counts durations in buckets whose width grows with the duration:
// 64 buckets for each power of two, so that any quantile is exact to 1.6 %, from
// a nanosecond to 292 years, in 30 kB. The idea is Gil Tene's HdrHistogram.
//
// The zero Histogram is empty and ready. It is not safe for concurrent use: each
// worker has its own, and they are merged.
type Histogram struct {
	counts   [buckets]uint64
	n        uint64
	sum      float64 // nanoseconds
	min, max time.Duration
}

const (
	subBits = 6                               // 1<<subBits buckets for each power of two
	exact   = 2 << subBits                    // durations below have a bucket each
	buckets = (63-subBits-1)<<subBits + exact // a duration has 63 bits
)

// Record counts d. A negative duration counts as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.sum += float64(d)
	h.n++
}

// Merge adds the counts of other.
func (h *Histogram) Merge(other *Histogram) {
	if other.n == 0 {
		return
	}
	for i, c := range other.counts {
		h.counts[i] += c
	}
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.sum += other.sum
	h.n += other.n
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Min returns the shortest duration, 0 if there is none.
func (h *Histogram) Min() time.Duration { return h.min }

// Max returns the longest duration, 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the mean duration, 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// Quantile returns a duration that the share q of the durations (0 to 1) does
// not exceed, and that is at most 1.6 % above the smallest such. It is 0 if
// there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.n)))
	rank = min(max(rank, 1), h.n)
	for i, c := range h.counts {
		if c >= rank {
			return min(max(upper(i), h.min), h.max)
		}
		rank -= c
	}
	return h.max
}

// bucket returns the bucket of v: v itself below exact, and else the power of
// two with the subBits bits that follow its highest.
func bucket(v uint64) int {
	if v < exact {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// upper returns the largest duration that falls into bucket i.
func upper(i int) time.Duration {
	if i < exact {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return time.Duration(low + 1<<shift - 1)
}
