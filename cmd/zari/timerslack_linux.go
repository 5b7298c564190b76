package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A thread that sleeps for a time may be woken so much later.
const (
	usualSlack = 50 * time.Microsecond // the kernel's, if nobody has said otherwise
	timerSlack = time.Millisecond
)

// slackenTimers lets the kernel wake sleeping threads when it suits it. See ADR 31.
//
// While goroutines wait in system calls, for a disk, the runtime's monitor sleeps 20 µs
// at a time to see whether to give their processors to others, and so does who looks for
// work: a server that commits spends a sixth of its processor time on those naps. They
// are longer now, so that a processor is kept for longer by who waits in the kernel: there
// is one more of them.
//
// It is for the start of the program. What the operator has chosen stays: GOMAXPROCS in
// the environment, or another slack (systemd: TimerSlackNSec=). It fails in a binary
// built with cgo.
func slackenTimers() error {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack != int(usualSlack) {
		return err
	}
	if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	return nil
}
