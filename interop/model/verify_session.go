package model

import "github.com/zaridb/zari/zodb"

// verify compares what the session was told with the truth.
func (s *Session) verify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verifyArrivals()
	for _, r := range s.readings {
		s.verifyReading(r)
	}
	for _, u := range s.unions {
		s.verifyUnion(u)
	}
	if !s.lost {
		s.verifyCache()
	}
}

// verifyArrivals checks that the session was told of every commit, in order.
func (s *Session) verifyArrivals() {
	h := &s.c.history
	commits := h.after(s.from)
	for i, a := range s.arrivals {
		if i >= len(commits) || commits[i].tid != a.tid {
			s.misplaced(a, commits, i)
			return
		}
		k := commits[i]
		switch {
		case a.mine != 0 && a.mine != k.id:
			s.c.Report(RuleContent, s, "the finish reply for %v said %v, which is %v", a.mine, a.tid, k.id)
		case a.mine == 0 && a.oids != digestOIDs(k.oids):
			s.c.Report(RuleGap, s, "the invalidation %v does not name the objects %v", a.tid, k.oids)
		}
	}
	if n := len(s.arrivals); !s.lost && n < len(commits) {
		s.c.Report(RuleGap, s, "was told up to %v, and not of %v", s.View(), commits[n].tid)
	}
}

// misplaced reports an arrival that is not the next commit of the truth.
func (s *Session) misplaced(a arrival, commits []commit, i int) {
	for _, k := range s.c.history.after(0) {
		if k.tid != a.tid {
			continue
		}
		next := "nothing"
		if i < len(commits) {
			next = commits[i].tid.String()
		}
		s.c.Report(RuleGap, s, "was told of %v where %v was next", a.tid, next)
		return
	}
	s.c.Report(RuleDurable, s, "was told of %v, which is not in the database", a.tid)
}

// verifyReading compares one claim with the revisions of its object.
func (s *Session) verifyReading(r reading) {
	h := &s.c.history
	if r.kind == absent {
		s.verifyAbsent(r)
		return
	}
	rev, next, ok := h.at(r.oid, r.serial)
	if !ok {
		if r.serial <= h.kept {
			s.c.skipped++
			return
		}
		s.c.Report(RuleDurable, s, "object %v was seen with %v, which is not in the database", r.oid, r.serial)
		return
	}
	if r.kind == closed {
		if next != r.next {
			s.c.Report(RuleCache, s, "a client holds %v of %v as valid until %v, but %v replaced it", r.serial, r.oid, r.next, next)
		}
		return
	}
	low := min(r.before, r.low+1)
	switch {
	case rev.id != r.id || rev.deleted:
		s.c.Report(RuleContent, s, "load of %v at %v returned %v, the database holds %v", r.oid, r.serial, r.id, rev.id)
	case next != 0 && next < low:
		s.c.Report(RuleSnapshot, s, "load of %v before %v at view %v returned %v, but %v is newer", r.oid, r.before, r.low, r.serial, next)
	case r.next != 0 && r.next != next:
		s.c.Report(RuleSnapshot, s, "load of %v returned %v as replaced by %v, but %v replaced it", r.oid, r.serial, r.next, next)
	case r.next == 0 && next != 0 && next <= r.high:
		s.c.Report(RuleStale, s, "load of %v returned %v as current at view %v, but %v had replaced it", r.oid, r.serial, r.high, next)
	}
}

// verifyAbsent checks that there was a moment during the load when no revision
// was to be found.
func (s *Session) verifyAbsent(r reading) {
	h := &s.c.history
	low, high := min(r.before, r.low+1), min(r.before, r.high+1)
	if low <= h.kept {
		s.c.skipped++
		return
	}
	rev, next, ok := h.newest(r.oid, low)
	for ok && !rev.deleted {
		if next == 0 || next >= high {
			s.c.Report(RuleSnapshot, s, "load of %v before %v found nothing, but there was %v", r.oid, r.before, rev.tid)
			return
		}
		rev, next, ok = h.newest(r.oid, next+1)
	}
}

// verifyUnion compares an answer of getInvalidations.
func (s *Session) verifyUnion(u union) {
	if u.since < s.c.history.kept {
		s.c.skipped++
		return
	}
	var oids []zodb.OID
	seen := make(map[zodb.OID]bool)
	for _, k := range s.c.history.after(u.since) {
		if k.tid > u.last {
			break
		}
		for _, oid := range k.oids {
			if !seen[oid] {
				seen[oid] = true
				oids = append(oids, oid)
			}
		}
	}
	if u.oids != digestOIDs(oids) {
		s.c.Report(RuleGap, s, "getInvalidations(%v) named %d objects up to %v, want these %d: %v", u.since, u.count, u.last, len(oids), oids)
	}
}

// verifyCache checks what the client holds for current, now that it has been
// told of everything.
func (s *Session) verifyCache() {
	for _, oid := range s.cache.oids() {
		serial := s.cache.current[oid]
		if _, next, ok := s.c.history.at(oid, serial); ok && next != 0 {
			s.c.Report(RuleCache, s, "a client holds %v of %v for current, for ever, but %v replaced it", serial, oid, next)
		} else if !ok && serial > s.c.history.kept {
			s.c.Report(RuleDurable, s, "a client holds %v of %v, which is not in the database", serial, oid)
		}
	}
}

// reset drops what has been judged, and begins the next window after tid. It
// reports whether the session lives on.
func (s *Session) reset(tid zodb.TID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = max(s.from, tid)
	s.arrivals, s.readings, s.unions, s.refusals = s.arrivals[:0], s.readings[:0], s.unions[:0], s.refusals[:0]
	clear(s.replaced)
	return !s.lost
}
