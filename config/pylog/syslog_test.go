package pylog

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// service is a syslog service.
func service(t *testing.T, network, address string) net.PacketConn {
	t.Helper()
	l, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// receive returns the next message, as it came.
func receive(t *testing.T, l net.PacketConn) string {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, _, err := l.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func syslogLogger(t *testing.T, s *Syslog) *slog.Logger {
	t.Helper()
	format, err := Compile(DefaultSyslogFormat, "")
	if err != nil {
		t.Fatal(err)
	}
	return slog.New(NewLevelHandler(s, format, nil)).With(NameKey, "ZEO")
}

func TestSyslog(t *testing.T) {
	udp := service(t, "udp", "127.0.0.1:0")
	s := NewSyslog("udp", udp.LocalAddr().String(), facilities["local3"])
	log := syslogLogger(t, s)
	for want, write := range map[string]func(string, ...any){
		"<159>ZEO message n=1\x00": log.Debug, "<158>ZEO message n=1\x00": log.Info,
		"<156>ZEO message n=1\x00": log.Warn, "<155>ZEO message n=1\x00": log.Error,
	} {
		write("message", "n", 1)
		if got := receive(t, udp); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteLevel(Info, nil); err == nil {
		t.Error("a closed one is written")
	}
}

// A service may begin late and be started anew.
func TestSyslogSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := NewSyslog("unix", path, User)
	defer s.Close()
	if err := s.WriteLevel(Critical, []byte("lost\n")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody is there: %v", err)
	}
	for range 2 {
		l := service(t, "unixgram", path)
		if err := s.WriteLevel(Critical, []byte("line\n")); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, l); got != "<10>line\x00" {
			t.Errorf("got %q", got)
		}
		l.Close()
		os.Remove(path)
	}
}

func TestParseFacility(t *testing.T) {
	if f, err := ParseFacility("LOCAL7"); err != nil || f != 23 {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := ParseFacility("local8"); err == nil {
		t.Error("local8 is a facility")
	}
}
