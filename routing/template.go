package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Template is the value of a header, with variables in it: ${client_ip} stands for what Vars has, $${
// for ${ itself, any other $ for itself. The zero value is empty.
type Template struct {
	text   string
	parts  []part
	hidden bool // what the environment holds is in it
}

// part is a text, and then a variable.
type part struct {
	text     string
	variable variable
}

// Vars are what the variables of a Template stand for, all of one request. The slices need be valid
// during Append only.
type Vars struct {
	// ClientIP is who asked; an IPv4 address mapped to IPv6 is written as IPv4. ClientPort is empty
	// when it is zero: not known.
	ClientIP   netip.Addr
	ClientPort uint16

	// Host, Method, Path and Query are as the client sent them: Path without the query, Query without
	// its question mark.
	Host, Method, Path, Query []byte

	// Scheme is "http" or "https". ServerPort is the port the client connected to, empty when zero.
	Scheme     string
	ServerPort uint16

	// Route is a Route's Name, Backend a Backend's URL; empty where no backend was picked.
	Route, Backend string
}

type variable uint8

const (
	varNone variable = iota // at the end of a Template without one there
	varClientIP
	varClientPort
	varHost
	varMethod
	varPath
	varQuery
	varScheme
	varServerPort
	varRoute
	varBackend
)

// variables are their names, the first that of varClientIP. Upper case is left to the environment's.
var variables = []string{"client_ip", "client_port", "host", "method", "path", "query", "scheme", "server_port", "route", "backend"}

const maxValueLength = 4096

// ParseTemplate reads a header's value as it stands in the file. An error says what is wrong and what
// is allowed, and does not show the value, which may be a secret.
func ParseTemplate(text string) (Template, error) {
	if len(text) > maxValueLength {
		return Template{}, fmt.Errorf("a value of %d bytes is too long; at most %d", len(text), maxValueLength)
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n' || c == '\r':
			return Template{}, errors.New("the value has a line break; a header is one line")
		case isControl(c):
			return Template{}, fmt.Errorf("the value has a control character, %q; of these, only tabs are allowed", c)
		}
	}
	t := Template{text: text}
	var literal strings.Builder
	for rest := text; ; {
		i := strings.IndexByte(rest, '$')
		if i < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:i])
		rest = rest[i:]
		if after, ok := strings.CutPrefix(rest, "$${"); ok {
			literal.WriteString("${")
			rest = after
			continue
		}
		inner, ok := strings.CutPrefix(rest, "${")
		if !ok {
			literal.WriteByte('$')
			rest = rest[1:]
			continue
		}
		name, after, ok := strings.Cut(inner, "}")
		if !ok {
			return Template{}, errors.New("the value has a ${ without its }; a ${ that is meant as it stands is written $${")
		}
		v, err := parseVariable(name)
		if err != nil {
			return Template{}, err
		}
		t.parts = append(t.parts, part{literal.String(), v})
		literal.Reset()
		rest = after
	}
	if literal.Len() > 0 {
		t.parts = append(t.parts, part{text: literal.String()})
	}
	return t, nil
}

func parseVariable(name string) (variable, error) {
	for i, known := range variables {
		if name == known {
			return varClientIP + variable(i), nil
		}
	}
	return varNone, fmt.Errorf("%s is no variable%s; a ${ that is meant as it stands is written $${",
		quote("${"+name+"}"), allowedWords(name, "", variables))
}

// Append appends the value for one request to dst, and allocates nothing else. What it appends has no
// control characters but tabs, whatever v holds: those of a request stand there as %xx.
func (t Template) Append(dst []byte, v *Vars) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		dst = append(dst, p.text...)
		switch p.variable {
		case varClientIP:
			if v.ClientIP.IsValid() {
				dst = v.ClientIP.Unmap().AppendTo(dst)
			}
		case varClientPort:
			dst = appendPort(dst, v.ClientPort)
		case varHost:
			dst = appendPrintable(dst, v.Host)
		case varMethod:
			dst = appendPrintable(dst, v.Method)
		case varPath:
			dst = appendPrintable(dst, v.Path)
		case varQuery:
			dst = appendPrintable(dst, v.Query)
		case varScheme:
			dst = appendPrintable(dst, v.Scheme)
		case varServerPort:
			dst = appendPort(dst, v.ServerPort)
		case varRoute:
			dst = appendPrintable(dst, v.Route)
		case varBackend:
			dst = appendPrintable(dst, v.Backend)
		}
	}
	return dst
}

// Hidden reports whether something from the environment is in the value, which may be a secret.
func (t Template) Hidden() bool { return t.hidden }

// String is the template as it was written.
func (t Template) String() string { return t.text }

func appendPort(dst []byte, port uint16) []byte {
	if port == 0 {
		return dst
	}
	return strconv.AppendUint(dst, uint64(port), 10)
}

// appendPrintable appends what a client sent: a request target may hold bytes that end a header or
// make it invalid (RFC 9110 §5.5).
func appendPrintable[T string | []byte](dst []byte, text T) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if isControl(c) {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// isControl reports whether c may not stand in the value of a header.
func isControl(c byte) bool {
	return c < ' ' && c != '\t' || c == 0x7f
}
