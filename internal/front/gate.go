package front

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
	"wsproxy/internal/head"
)

// Why the gate refuses a request whose head is well-formed; head's own errors are about those that are
// not. refusals has a status for each.
var (
	errMalformed  = errors.New("malformed request") // by fasthttp's reading
	errMethod     = errors.New("method not allowed")
	errHostCount  = errors.New("field Host is missing or repeated")
	errHost       = errors.New("field Host is not a host")
	errHostTarget = errors.New("request target and Host name different hosts")
	errTarget     = errors.New("request target is neither a path nor an http URL")
	errFragment   = errors.New("fragment in the request target")
	errEscape     = errors.New("malformed % escape in the path")
	errLength     = errors.New("Content-Length is not a number")
	errLengths    = errors.New("Content-Length is said twice")
	errCoding     = errors.New("Transfer-Encoding is not chunked")
	errCodings    = errors.New("Transfer-Encoding is said twice")
	errTwoEnds    = errors.New("both Transfer-Encoding and Content-Length")
	errCodingHTTP = errors.New("Transfer-Encoding in HTTP/1.0")
	errOptions    = errors.New("too many names in Connection")
	errOption     = errors.New("field Connection names a field that is not the client's to drop")
)

// gated is a request that has passed the gate.
type gated struct {
	target []byte // in origin form, a part of the request
	path   []byte // target up to the query
	host   []byte // the value of Host, empty for HTTP/1.0 without one
	length int64  // of the body, -1 for a chunked one
	http10 bool
}

// gate refuses what two readers could understand in two ways, before anything looks at the request or
// passes it on. It says what is wrong without quoting it. What a head's bytes may be at all, head.Scanner
// has seen to while they arrived.
func gate(h *fasthttp.RequestHeader) (g gated, err error) {
	switch string(h.Method()) {
	case "CONNECT", "TRACE":
		return g, errMethod
	}
	g.http10 = string(h.Protocol()) == "HTTP/1.0"
	// The header's raw block has come as it is; fasthttp's reading of it is no matter.
	if err := g.readFields(h.RawHeaders()); err != nil {
		return g, err
	}
	if g.target, err = originForm(h.RequestURI(), g.host); err != nil {
		return g, err
	}
	g.path, _, _ = bytes.Cut(g.target, []byte("?"))
	if !validEscapes(g.path) {
		return g, errEscape
	}
	return g, nil
}

// readFields reads what frames the message and what names its host (RFC 9112 §3.2, §6.1, §6.3).
func (g *gated) readFields(block []byte) error {
	hosts, lengths, codings, options := 0, 0, 0, 0
	for f := range head.Fields(block) {
		switch {
		case f.Is("Host"):
			hosts++
			g.host = f.Value
		case f.Is("Content-Length"):
			var err error
			if g.length, err = body.ParseLength(f.Value); err != nil || len(f.Value) == 0 {
				return errLength
			}
			lengths++
		case f.Is("Transfer-Encoding"):
			// Names of codings are so in any case (RFC 9112 §7), but whoever writes another is up to something.
			if string(f.Value) != "chunked" {
				return errCoding
			}
			codings++
		case f.Is("Connection"):
			for name := range head.Elements(f.Value) {
				if options++; options > maxOptions {
					return errOptions
				}
				if essential(name) {
					return errOption
				}
			}
		}
	}
	switch {
	case hosts > 1 || hosts == 0 && !g.http10:
		return errHostCount
	case hosts == 1 && !validHost(g.host):
		return errHost
	case lengths > 1:
		return errLengths
	case codings > 1:
		return errCodings
	case codings == 1 && lengths == 1:
		return errTwoEnds
	case codings == 1 && g.http10:
		return errCodingHTTP
	}
	if codings == 1 {
		g.length = -1
	}
	return nil
}

// maxOptions is how many names the Connection fields may have: every field is compared with each.
const maxOptions = 16

// essential reports whether a field is one that the proxy sets or needs, so that a Connection field
// which declares it hop-by-hop is an attack (or a mistake that would break the request).
func essential(name []byte) bool {
	for _, one := range [...]string{"Host", "Transfer-Encoding", "Expect", "Origin", "Cookie", "Authorization"} {
		if head.EqualFold(name, one) {
			return true
		}
	}
	for _, prefix := range [...]string{"Content-", "Sec-WebSocket-"} {
		if len(name) >= len(prefix) && head.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return head.Reserved(name)
}

// validHost reports whether b is uri-host [ ":" port ] (RFC 3986 §3.2.2) in the characters that occur in
// either; what they spell is the routes' to know.
func validHost(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case bytes.IndexByte([]byte("-._~%!$&'()*+,;=:[]"), c) >= 0:
		default:
			return false
		}
	}
	if i := bytes.IndexByte(b, ']'); i >= 0 {
		b = b[i:]
	}
	name, port, found := bytes.Cut(b, []byte(":"))
	return len(name) > 0 && (!found || len(bytes.Trim(port, "0123456789")) == 0)
}

// validEscapes reports whether every % begins an escape (RFC 3986 §2.1). One that does not means itself to
// some and an error to others.
func validEscapes(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 || !isHex(path[i+1]) || !isHex(path[i+2]) {
			return false
		}
		path = path[i+3:]
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// originForm is the target as a backend gets it. A target in absolute form must name the host that
// Host names (RFC 9112 §3.2.2); its scheme says nothing that the listener does not know.
func originForm(target, host []byte) ([]byte, error) {
	if bytes.IndexByte(target, '#') >= 0 {
		return nil, errFragment
	}
	if len(target) > 0 && target[0] == '/' {
		return target, nil
	}
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(target) < len(scheme) || !head.EqualFold(target[:len(scheme)], scheme) {
			continue
		}
		authority, path := target[len(scheme):], []byte(nil)
		if i := bytes.IndexAny(authority, "/?"); i >= 0 {
			authority, path = authority[:i], authority[i:]
		}
		if len(host) == 0 || !head.EqualFold(authority, string(host)) {
			return nil, errHostTarget
		}
		if len(path) == 0 || path[0] == '?' {
			path = append([]byte("/"), path...)
		}
		return path, nil
	}
	return nil, errTarget
}
