package pylog

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultSyslogFormat is what ZConfig uses for syslog where a configuration says
// nothing.
const DefaultSyslogFormat = "%(name)s %(message)s"

// Facility is a syslog facility, as RFC 5424 numbers them.
type Facility int

// User is the facility of programs in general.
const User Facility = 1

var facilities = map[string]Facility{
	"kern": 0, "user": User, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
	"authpriv": 10, "security": 13, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
	"local6": 22, "local7": 23,
}

// ParseFacility reads the name of a facility that ZConfig knows, in any case.
func ParseFacility(s string) (Facility, error) {
	f, ok := facilities[strings.ToLower(s)]
	if !ok {
		return 0, fmt.Errorf("%q is not a facility of syslog: write user, daemon, local0 ... local7, or another", s)
	}
	return f, nil
}

// severity returns the severity of syslog that stands for a level.
func severity(l Level) int {
	switch {
	case l >= Critical:
		return 2
	case l >= Error:
		return 3
	case l >= Warning:
		return 4
	case l >= Info:
		return 6
	}
	return 7
}

// Syslog sends lines to a syslog service, one message each, as Python's
// SysLogHandler does: <PRIORITY>LINE and a null byte, by UDP or to a Unix socket. A
// service that does not answer loses lines and holds nobody up. It may be used
// concurrently.
type Syslog struct {
	network, address string
	facility         Facility

	mu     sync.Mutex
	conn   net.Conn // nil: not connected
	closed bool
}

// syslogPatience is how long a full socket is waited for.
const syslogPatience = 50 * time.Millisecond

// NewSyslog returns a Syslog for a service. network is "udp" or "unix". It connects
// with the first line.
func NewSyslog(network, address string, f Facility) *Syslog {
	return &Syslog{network: network, address: address, facility: f}
}

// WriteLevel sends a line.
func (s *Syslog) WriteLevel(l Level, line []byte) error {
	msg := "<" + strconv.Itoa(int(s.facility)<<3|severity(l)) + ">" + string(bytes.TrimSuffix(line, []byte("\n"))) + "\x00"
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	err := s.send(msg)
	if err != nil { // the service may have been started anew
		err = s.send(msg)
	}
	return err
}

func (s *Syslog) send(msg string) error {
	if s.conn == nil {
		conn, err := s.dial()
		if err != nil {
			return err
		}
		s.conn = conn
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(syslogPatience))
	if err == nil {
		_, err = s.conn.Write([]byte(msg))
	}
	if err != nil {
		err = errors.Join(err, s.conn.Close())
		s.conn = nil
	}
	return err
}

func (s *Syslog) dial() (net.Conn, error) {
	if s.network != "unix" {
		return net.DialTimeout(s.network, s.address, time.Second)
	}
	conn, err := net.Dial("unixgram", s.address)
	if err == nil {
		return conn, nil
	}
	return net.Dial("unix", s.address)
}

// Close ends the connection. Lines fail from then on.
func (s *Syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}
