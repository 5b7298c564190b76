package zconfig

import "strings"

// DidYouMean returns a hint with the candidate that name is a likely misspelling
// of, "" if there is none.
func DidYouMean(name string, candidates []string) string {
	if best := nearest(strings.ToLower(name), candidates); best != "" {
		return `did you mean "` + best + `"?`
	}
	return ""
}

func nearest(name string, candidates []string) string {
	const longest = 64 // nobody misspells a name into more
	if len(name) > longest {
		return ""
	}
	best, least := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if len(c) > longest {
			continue
		}
		if d := distance(name, strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, changes and swaps of neighbours
// that turn a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
