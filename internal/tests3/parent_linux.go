package tests3

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends a child whose test process was killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
