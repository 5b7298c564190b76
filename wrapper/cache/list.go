package cache

import "github.com/zaridb/zari/internal/roster"

// List is all caches of a process, for operators. A nil one takes none.
type List = roster.Roster[*Storage]
