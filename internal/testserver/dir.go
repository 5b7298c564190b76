package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// account returns whom to run the server as, nil: as we do.
func (k Kind) account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 || len(k.Accounts) == 0 {
		return nil, nil
	}
	for _, name := range k.Accounts {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, fmt.Errorf("%s does not run as root, and there is no user %s", k.Name, strings.Join(k.Accounts, " or "))
}

const (
	memory  = "/dev/shm"
	enough  = 2 << 30 // how many bytes must be free there
	longest = 80      // how long a path may be; that of a socket in it may have 103 bytes, or 107
)

// places are where a directory may be made, the best first.
func (k Kind) places() []string {
	disks := []string{os.TempDir(), "/var/tmp"}
	if k.OnDisk || free(memory) < enough {
		return disks
	}
	return append([]string{memory}, disks...)
}

// free returns how many bytes a file system has left.
func free(path string) uint64 {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return 0
	}
	return uint64(s.Bavail) * uint64(s.Bsize)
}

// makeDir makes a directory in the first place where the server can use one.
func (s *Server) makeDir() (string, error) {
	var failed []error
	for _, place := range s.kind.places() {
		dir, err := s.makeDirIn(place)
		if err == nil {
			return dir, nil
		}
		failed = append(failed, err)
	}
	return "", fmt.Errorf("no directory for %s: %w", s.kind.Name, errors.Join(failed...))
}

func (s *Server) makeDirIn(place string) (string, error) {
	dir, err := os.MkdirTemp(place, "zari-"+strings.ToLower(s.kind.Name)+"-")
	if err != nil {
		return "", err
	}
	if err := s.usable(dir); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// usable gives the server a directory, and has its user enter it.
func (s *Server) usable(dir string) error {
	if len(dir) > longest {
		return fmt.Errorf("%s: too long a path for sockets", dir)
	}
	if s.account == nil {
		return nil
	}
	if err := s.give(dir); err != nil {
		return err
	}
	enter := exec.Command("/bin/sh", "-c", ":")
	enter.Dir = dir
	enter.SysProcAttr = &syscall.SysProcAttr{Credential: s.account}
	if err := enter.Run(); err != nil {
		return fmt.Errorf("the user %d cannot enter %s: %w", s.account.Uid, dir, err)
	}
	return nil
}

// give makes a file or a directory the server's.
func (s *Server) give(path string) error {
	if s.account == nil {
		return nil
	}
	return os.Chown(path, int(s.account.Uid), int(s.account.Gid))
}
