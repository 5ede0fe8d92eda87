// Package control is how a running wsproxy is asked to do something by a person or a program on the same
// machine: a socket that only root and the user that runs wsproxy may open. A connection carries one
// request and one answer, each a line of JSON.
package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// idle is how long either side may take to send what it has to say, once it has it.
	idle = 30 * time.Second

	maxRequest = 1 << 20

	// An answer may tell of every backend, and there may be ten thousand.
	maxReply = 16 << 20
)

// Request is what a client asks for.
type Request struct {
	Command string   `json:"command"`
	Args    []string `json:"args,omitempty"`
}

// Reply is what came of a request.
type Reply struct {
	// OK says that what was asked for has been done.
	OK bool `json:"ok"`

	// Text is for people, a line each.
	Text []string `json:"text,omitempty"`

	// Faults are why it has not been done, a line each.
	Faults []string `json:"faults,omitempty"`

	// Data is for programs; each command has a form of its own.
	Data json.RawMessage `json:"data,omitempty"`
}

// Refuse is the Reply to a request that has not been done.
func Refuse(format string, args ...any) Reply {
	return Reply{Faults: []string{fmt.Sprintf(format, args...)}}
}

var errTooLarge = errors.New("too large")

// receive reads one line of at most that many bytes into v. It is io.EOF when there is nothing at all.
func receive(conn net.Conn, most int64, v any) error {
	line, err := bufio.NewReader(io.LimitReader(conn, most+1)).ReadBytes('\n')
	switch {
	case int64(len(line)) > most:
		return errTooLarge
	case err == io.EOF && len(line) > 0:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	return json.Unmarshal(line, v)
}

// encode is v as a line of at most that many bytes.
func encode(v any, most int) ([]byte, error) {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(v); err != nil {
		return nil, err
	}
	if line.Len() > most {
		return nil, errTooLarge
	}
	return line.Bytes(), nil
}
