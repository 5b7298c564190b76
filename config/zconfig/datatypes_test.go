package zconfig

import (
	"testing"
	"time"
)

func TestSocketAddress(t *testing.T) {
	tests := []struct {
		in   string
		want Address
		str  string
	}{
		{"8100", Address{Port: 8100, HasPort: true}, ":8100"},
		{":8100", Address{Port: 8100, HasPort: true}, ":8100"},
		{"Host:8100", Address{Host: "host", Port: 8100, HasPort: true}, "host:8100"},
		{"127.0.0.1:0", Address{Host: "127.0.0.1", HasPort: true}, "127.0.0.1:0"},
		{"localhost", Address{Host: "localhost"}, "localhost:0"},
		{"localhost:", Address{Host: "localhost"}, "localhost:0"},
		{"[::1]:8100", Address{Host: "::1", Port: 8100, HasPort: true}, "[::1]:8100"},
		{"[::1]", Address{Host: "::1"}, "[::1]:0"},
		{"fe80::1%eth0", Address{Host: "fe80::1%eth0"}, "[fe80::1%eth0]:0"},
		{"::1", Address{Host: "::1"}, "[::1]:0"},
		{"/var/run/zeo.sock", Address{Path: "/var/run/zeo.sock"}, "/var/run/zeo.sock"},
		{"./zeo", Address{Path: "./zeo"}, "./zeo"},
	}
	for _, tt := range tests {
		got, err := SocketAddress(tt.in)
		if err != nil || got != tt.want || got.String() != tt.str {
			t.Errorf("SocketAddress(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "a b", "host:x", "host:70000", "99999", "host:-1", "1:2:3", "[::1:80", "[x]:80", "[1.2.3.4:5]:6"} {
		if a, err := SocketAddress(bad); err == nil {
			t.Errorf("SocketAddress(%q) = %+v, want an error", bad, a)
		}
	}
	if a, err := SocketConnectionAddress("8100"); err != nil || a.String() != "127.0.0.1:8100" {
		t.Errorf("SocketConnectionAddress: %v, %v", a, err)
	}
}

func check[T comparable](t *testing.T, name string, parse func(string) (T, error), good map[string]T, bad ...string) {
	t.Helper()
	for in, want := range good {
		if got, err := parse(in); err != nil || got != want {
			t.Errorf("%s(%q) = %v, %v; want %v", name, in, got, err, want)
		}
	}
	for _, in := range bad {
		if got, err := parse(in); err == nil {
			t.Errorf("%s(%q) = %v, want an error", name, in, got)
		}
	}
}

func TestDatatypes(t *testing.T) {
	check(t, "Boolean", Boolean, map[string]bool{"yes": true, "TRUE": true, "On": true, "no": false, "false": false, "OFF": false},
		"", "1", "0", "y")
	check(t, "Integer", Integer, map[string]int64{"0": 0, "-5": -5, " 7 ": 7, "+3": 3}, "", "x", "1.5", "0x1", "99999999999999999999")
	check(t, "Float", Float, map[string]float64{"0.5": 0.5, "3": 3, "1e3": 1000}, "", "nan", "inf", "x")
	check(t, "ByteSize", ByteSize, map[string]int64{"0": 0, "10": 10, "1kb": 1024, "20MB": 20 << 20, "3 Gb": 3 << 30},
		"", "-1", "1TB", "b", "9999999999GB", "1.5MB")
	check(t, "TimeInterval", TimeInterval, map[string]time.Duration{"0": 0, "5": 5 * time.Second, "5S": 5 * time.Second, "2m": 2 * time.Minute,
		"1 h": time.Hour, "3d": 72 * time.Hour}, "", "-1s", "1w", "9223372036854775807", "999999999999d")
}

func TestDidYouMean(t *testing.T) {
	known := []string{"address", "read-only", "pid-filename", "msgpack"}
	tests := []struct{ name, want string }{
		{"adress", "address"}, {"Addresss", "address"}, {"raed-only", "read-only"}, {"read_only", "read-only"},
		{"pid-file", ""}, {"pidfilename", "pid-filename"}, {"xyz", ""}, {"", ""},
	}
	for _, tt := range tests {
		want := tt.want
		if want != "" {
			want = `did you mean "` + want + `"?`
		}
		if got := DidYouMean(tt.name, known); got != want {
			t.Errorf("DidYouMean(%q) = %q, want %q", tt.name, got, want)
		}
	}
}

func FuzzDatatypes(f *testing.F) {
	for _, s := range []string{"8100", "[::1]:8100", "/x", "20MB", "5m", "on", "[", ":", "1.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ByteSize(s); err == nil && v < 0 {
			t.Errorf("ByteSize(%q) = %d", s, v)
		}
		if v, err := TimeInterval(s); err == nil && v < 0 {
			t.Errorf("TimeInterval(%q) = %v", s, v)
		}
		a, err := SocketAddress(s)
		if err == nil && a.Path == "" && a.HasPort {
			if b, err := SocketAddress(a.String()); err != nil || a != b {
				t.Errorf("SocketAddress(%q) = %+v, whose string %q is %+v, %v", s, a, a.String(), b, err)
			}
		}
		_, _ = Boolean(s)
		_, _ = Integer(s)
		_, _ = Float(s)
	})
}
