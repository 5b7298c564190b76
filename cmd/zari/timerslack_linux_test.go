package main

import (
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSlackenTimers(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	usual := func() syscall.Errno { // as at the start of a program; other tests may have served here
		_, _, errno := syscall.AllThreadsSyscall(syscall.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(usualSlack), 0)
		return errno
	}
	if usual() == syscall.ENOTSUP {
		t.Skip("the test is built with cgo")
	}
	t.Cleanup(func() {
		runtime.GOMAXPROCS(procs)
		usual()
	})
	t.Setenv("GOMAXPROCS", "")
	if err := slackenTimers(); err != nil {
		t.Fatal(err)
	}
	if got := runtime.GOMAXPROCS(0); got != procs+1 {
		t.Errorf("%d processors, want one more than %d", got, procs)
	}
	var all, here sync.WaitGroup
	for range 8 { // each on a thread of its own
		here.Add(1)
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
			if err != nil || slack != int(timerSlack) {
				t.Errorf("a thread has a slack of %d ns (%v), want %v", slack, err, timerSlack)
			}
			here.Done()
			here.Wait()
		})
	}
	all.Wait()
	if err := slackenTimers(); err != nil || runtime.GOMAXPROCS(0) != procs+1 {
		t.Errorf("what is chosen did not stay: %v, %d processors", err, runtime.GOMAXPROCS(0))
	}
}
