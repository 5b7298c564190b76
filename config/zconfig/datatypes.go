package zconfig

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// Boolean reads yes, true, on, no, false, off in any case.
func Boolean(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "true", "on":
		return true, nil
	case "no", "false", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean: write true or false, yes or no, on or off", abridge(s))
}

// Integer reads a decimal number.
func Integer(s string) (int64, error) {
	v, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q is too large", abridge(s))
	case err != nil:
		return 0, fmt.Errorf("%q is not a whole number", abridge(s))
	}
	return v, nil
}

// Float reads a finite number.
func Float(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", abridge(s))
	}
	return v, nil
}

// ByteSize reads a number of bytes: a whole number, which KB, MB or GB (powers of
// 1024, in any case) may follow.
func ByteSize(s string) (int64, error) {
	v, err := scaled(s, map[string]int64{"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30})
	if err != nil {
		return 0, fmt.Errorf("%w: write a number of bytes, or with KB, MB or GB", err)
	}
	return v, nil
}

// TimeInterval reads a time: a whole number of seconds, or with s, m, h or d.
func TimeInterval(s string) (time.Duration, error) {
	v, err := scaled(s, map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86400})
	if err == nil && v > math.MaxInt64/int64(time.Second) {
		err = fmt.Errorf("%q is too large", abridge(s))
	}
	if err != nil {
		return 0, fmt.Errorf("%w: write a number of seconds, or with s, m, h or d", err)
	}
	return time.Duration(v) * time.Second, nil
}

func scaled(s string, units map[string]int64) (int64, error) {
	number, unit := strings.ToLower(s), int64(1)
	for suffix, factor := range units {
		if n, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = n, factor
			break
		}
	}
	v, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && v > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is too large", abridge(s))
	case err != nil || v < 0:
		return 0, fmt.Errorf("%q is not understood", abridge(s))
	}
	return v * unit, nil
}

// Address is where to listen or to connect: a TCP host and port, or the path of
// a Unix socket.
type Address struct {
	Path string // not "": a Unix socket
	Host string // a name or an IP address without brackets; "" for all interfaces
	Port int    // 0: any free one

	// HasPort tells a port 0 that was written from one that was not.
	HasPort bool
}

// Network returns "unix" or "tcp", as package net wants it.
func (a Address) Network() string {
	if a.Path != "" {
		return "unix"
	}
	return "tcp"
}

// String returns the path or host:port, as package net wants it.
func (a Address) String() string {
	if a.Path != "" {
		return a.Path
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// SocketAddress reads an address to listen at: PORT, :PORT, HOST, HOST:PORT,
// [IPv6]:PORT or IPv6; or, if there is a slash in it, the path of a Unix socket.
func SocketAddress(s string) (Address, error) {
	written := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		s = s[:i+1] + strings.TrimFunc(s[i+1:], isSpace) // int() in Python passes over it
	}
	if strings.ContainsFunc(s, isSpace) || s == "" {
		return Address{}, fmt.Errorf("%q is not an address: write HOST:PORT, PORT or /PATH", abridge(written))
	}
	if strings.Contains(s, "/") {
		return Address{Path: s}, nil
	}
	host, port, found := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port, found = s[:i], s[i+1:], true
	}
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	switch {
	case !found && strings.Trim(s, "0123456789") == "":
		host, port = "", s
	case bracketed:
		host = host[1 : len(host)-1]
	case strings.Contains(host, ":"):
		// An IPv6 address without a port: what follows its last colon is part of it.
		host, port = s, ""
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			host = s[1 : len(s)-1]
		}
	}
	if bracketed && !strings.Contains(host, ":") {
		return Address{}, fmt.Errorf("%q is not an address: brackets are for IPv6 addresses", abridge(s))
	}
	return hostPort(s, host, port)
}

// SocketConnectionAddress is [SocketAddress] for an address to connect to: no
// host means this machine.
func SocketConnectionAddress(s string) (Address, error) {
	a, err := SocketAddress(s)
	if err == nil && a.Path == "" && a.Host == "" {
		a.Host = "127.0.0.1"
	}
	return a, err
}

func hostPort(s, host, port string) (Address, error) {
	a := Address{Host: strings.ToLower(host), HasPort: port != ""}
	if strings.ContainsAny(host, "[]") {
		return Address{}, fmt.Errorf("%q is not an address: the brackets do not match", abridge(s))
	}
	if strings.Contains(host, ":") && net.ParseIP(strings.SplitN(host, "%", 2)[0]) == nil {
		return Address{}, fmt.Errorf("%q is not an address: %q is no IPv6 address", abridge(s), abridge(host))
	}
	if port == "" {
		return a, nil
	}
	v, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not an address: the port %q is not a number from 0 to 65535", abridge(s), abridge(port))
	}
	a.Port = int(v)
	return a, nil
}
