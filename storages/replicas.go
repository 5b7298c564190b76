package storages

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// replicas is a replica-conf file. It is read for each new connection, so that an
// operator, or what watches over the database, can name other servers at any time.
type replicas struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	last   []string // what the file said when it could be read
	failed bool     // it could not the last time
}

// openReplicas returns nil for a path "".
func openReplicas(path string, log *slog.Logger) (*replicas, error) {
	if path == "" {
		return nil, nil
	}
	servers, err := readReplicas(path)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &replicas{path: path, log: log, last: servers}, err
}

// servers returns those that the file names now. A file that cannot be read, such as
// one that is being written, stands for what it said before.
func (r *replicas) servers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	servers, err := readReplicas(r.path)
	if err == nil {
		r.last, r.failed = servers, false
	} else if !r.failed {
		r.failed = true
		r.log.Warn("the servers of the database are those that were named before", "err", err, "servers", r.last)
	}
	return r.last
}

// readReplicas reads a replica-conf file: HOST or HOST:PORT on each line, the best
// first; lines that begin with # are comments.
func readReplicas(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("replica-conf: %w", err)
	}
	defer f.Close()
	const most = 1 << 16 // bytes
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("replica-conf: %w", err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	if len(list) == 0 || len(text) > most {
		return nil, fmt.Errorf("replica-conf: %s does not name servers, HOST or HOST:PORT on each line", path)
	}
	return list, nil
}
