package tlsterm

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
)

const (
	ticketKeySize = 32
	maxTicketKeys = 64
)

// parseTicketKeys reads keys for session tickets: a line each, 32 bytes in base64, as in
//
//	openssl rand -base64 32
//
// New tickets are made with the first, and all are accepted. Empty lines and those that begin with #
// mean nothing. Machines that have the same keys resume each other's sessions. No error shows what
// the file holds.
func parseTicketKeys(data []byte) ([][ticketKeySize]byte, error) {
	var keys [][ticketKeySize]byte
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.AppendDecode(nil, line)
		if err != nil || len(key) != ticketKeySize {
			return nil, fmt.Errorf("line %d is no key; a key is 32 bytes in base64", n)
		}
		if len(keys) == maxTicketKeys {
			return nil, fmt.Errorf("has more than %d keys", maxTicketKeys)
		}
		keys = append(keys, [ticketKeySize]byte(key))
	}
	if len(keys) == 0 {
		return nil, errors.New("has no key")
	}
	return keys, nil
}

// warnReadable warns of a file of secrets that every user of the machine can read.
func warnReadable(log *slog.Logger, file string) {
	if info, err := os.Stat(file); err == nil && readableByOthers(info.Mode()) {
		log.Warn("ticket keys can be read by others", "file", file, "mode", info.Mode().Perm().String())
	}
}

// readableByOthers reports whether users besides the owner and the group may read a file. Windows does
// not tell by the mode.
func readableByOthers(mode fs.FileMode) bool {
	return runtime.GOOS != "windows" && mode.Perm()&0o004 != 0
}
