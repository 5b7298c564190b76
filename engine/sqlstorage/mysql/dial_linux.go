package mysql

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h.
const tcpUserTimeout = 0x12

// boundUnacknowledged ends a connection whose peer has acknowledged nothing for half
// a minute: keepalive is silent while data are under way, and retransmission goes on
// for a quarter of an hour.
func boundUnacknowledged(network, _ string, c syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return nil
	}
	var set error
	err := c.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, 30_000)
	})
	if err != nil {
		return err
	}
	return set
}
