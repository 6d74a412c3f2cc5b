package operate

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxUsers is how many lines of the user table are looked at.
const maxUsers = 10000

// peer returns the user of the process at the other end, as the kernel knows it.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("ask for peer: %w", err)
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return 0, fmt.Errorf("ask for peer: %w", err)
	}
	return cred.Uid, nil
}

// userName names a user: from /etc/passwd, or "uid:N".
func userName(uid uint32) string { return nameIn("/etc/passwd", uid) }

func nameIn(table string, uid uint32) string {
	unknown := "uid:" + strconv.FormatUint(uint64(uid), 10)
	f, err := os.Open(table)
	if err != nil {
		return unknown
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for n := 0; n < maxUsers && lines.Scan(); n++ {
		field := strings.Split(lines.Text(), ":")
		if len(field) < 3 || field[2] != unknown[len("uid:"):] {
			continue
		}
		if name := clean(field[0]); name != "" && len(name) <= MaxName {
			return name
		}
	}
	return unknown
}
