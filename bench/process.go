package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrNoProcess says that no process of this machine was found behind an
// address, or that the system does not tell.
var ErrNoProcess = errors.New("bench: no process found")

// tick is the unit of times in /proc/PID/stat. The kernel reports them in
// USER_HZ, which is 100 in a second on every architecture that Go runs on.
const tick = time.Second / 100

// CPUTime returns the processor time, user and system, that the process and all
// its threads have taken since it began, to a hundredth of a second.
func CPUTime(pid int) (time.Duration, error) {
	s, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	return s.own, err
}

// FamilyCPUTime returns the same of a process and all its children, those that
// have ended included. PostgreSQL has a child for each connection.
func FamilyCPUTime(pid int) (time.Duration, error) {
	parent, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	total := parent.own + parent.ended
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		s, err := readStat(path)
		if err == nil && s.parent == strconv.Itoa(pid) { // otherwise it has just ended
			total += s.own
		}
	}
	return total, err
}

// stat is what is read from /proc/PID/stat. (Fields 4 and 14 to 17, proc(5).)
type stat struct {
	parent string
	own    time.Duration // of processor time
	ended  time.Duration // that of children that have ended
}

func readStat(path string) (stat, error) {
	line, err := os.ReadFile(path)
	if err != nil {
		return stat{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return parseStat(line)
}

func parseStat(line []byte) (stat, error) {
	// The second field is the program's name in parentheses, and may hold spaces.
	end := bytes.LastIndexByte(line, ')')
	fields := strings.Fields(string(line[end+1:]))
	if end < 0 || len(fields) < 15 {
		return stat{}, fmt.Errorf("bench: cannot read process times from %q", line)
	}
	var times [4]time.Duration
	for i, f := range fields[11:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("bench: process times: %w", err)
		}
		times[i] = time.Duration(n) * tick
	}
	return stat{parent: fields[1], own: times[0] + times[1], ended: times[2] + times[3]}, nil
}

// Memory returns the bytes of main memory that the process holds now, and the
// most it has held. (VmRSS and VmHWM in /proc/PID/status.)
func Memory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	if now == 0 {
		return 0, 0, fmt.Errorf("%w: process %d has no memory of its own", ErrNoProcess, pid)
	}
	return now, peak, nil
}

// FindServer returns the process that listens on the address, which is HOST:PORT
// or the path of a Unix socket. It finds those of this machine whose open files
// this user may see, and otherwise returns ErrNoProcess.
func FindServer(address string) (int, error) {
	inode, err := listenerInode(address)
	if err != nil {
		return 0, err
	}
	want := "socket:[" + inode + "]"
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, l := range links {
		if target, err := os.Readlink(l); err != nil || target != want {
			continue
		}
		return strconv.Atoi(strings.Split(l, "/")[2])
	}
	return 0, fmt.Errorf("%w: nobody we may look at listens on %s", ErrNoProcess, address)
}

func listenerInode(address string) (string, error) {
	if network(address) == "unix" {
		return findLine("/proc/net/unix", func(f []string) (string, bool) {
			const acceptsConnections = "00010000"
			return at(f, 6), at(f, 7) == address && at(f, 3) == acceptsConnections
		})
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if !isLocal(host) {
		return "", fmt.Errorf("%w: %s is another machine", ErrNoProcess, host)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	suffix := fmt.Sprintf(":%04X", n)
	listens := func(f []string) (string, bool) {
		const tcpListen = "0A"
		return at(f, 9), strings.HasSuffix(at(f, 1), suffix) && at(f, 3) == tcpListen
	}
	inode, err := findLine("/proc/net/tcp", listens)
	if err == nil {
		return inode, nil
	}
	return findLine("/proc/net/tcp6", listens)
}

// isLocal says whether the host is one of this machine's own addresses.
func isLocal(host string) bool {
	ips, err := net.LookupIP(host)
	if err != nil {
		return host == ""
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return ips[0].IsLoopback()
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ips[0]) {
			return true
		}
	}
	return ips[0].IsLoopback()
}

// findLine returns what pick makes of the first line that it accepts, given the
// line's fields.
func findLine(path string, pick func(fields []string) (string, bool)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if v, ok := pick(strings.Fields(lines.Text())); ok {
			return v, nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: nobody listens according to %s", ErrNoProcess, path)
}

func at(fields []string, i int) string {
	if i >= len(fields) {
		return ""
	}
	return fields[i]
}

// network returns the kind of an address: a path is a Unix socket.
func network(address string) string {
	if strings.Contains(address, "/") {
		return "unix"
	}
	return "tcp"
}
