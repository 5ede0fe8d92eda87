package front

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
)

// Why the gate refuses a request. errMalformed is wrapped by what says more.
var (
	errMalformed = errors.New("malformed request")
	errMethod    = errors.New("method not allowed")
)

// gate refuses what two readers could understand in two ways, before anything looks at the request
// or passes it on: fasthttp's parser is lenient where a proxy must not be. It says what is wrong
// without quoting it. target is the request target in origin form, a part of the request.
func gate(h *fasthttp.RequestHeader) (target []byte, err error) {
	// The header names these two ways: fasthttp has parsed the block and kept it as it came.
	switch string(h.Method()) {
	case "CONNECT", "TRACE":
		return nil, errMethod
	}
	if !head.IsToken(h.Method()) {
		return nil, fmt.Errorf("%w: method is not a token", errMalformed)
	}
	http10 := string(h.Protocol()) == "HTTP/1.0"
	if !http10 && string(h.Protocol()) != "HTTP/1.1" {
		return nil, fmt.Errorf("%w: version is neither HTTP/1.0 nor HTTP/1.1", errMalformed)
	}
	block := h.RawHeaders()
	if err := head.Check(block); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	host, err := gateFields(block, http10)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if target, err = originForm(h.RequestURI(), host); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return target, nil
}

// gateFields checks what frames the message and what names its host (RFC 9112 §3.2, §6.1, §6.3).
func gateFields(block []byte, http10 bool) (host []byte, err error) {
	hosts, lengths, codings, options := 0, 0, 0, 0
	for f := range head.Fields(block) {
		switch {
		case f.Is("Host"):
			hosts++
			host = f.Value
		case f.Is("Content-Length"):
			if lengths++; len(bytes.Trim(f.Value, "0123456789")) > 0 || len(f.Value) == 0 {
				return nil, errors.New("Content-Length is not a number")
			}
		case f.Is("Transfer-Encoding"):
			if codings++; !head.EqualFold(f.Value, "chunked") {
				return nil, errors.New("Transfer-Encoding is not chunked")
			}
		case f.Is("Connection"):
			for name := range head.Elements(f.Value) {
				if options++; options > maxOptions {
					return nil, errors.New("too many names in Connection")
				}
				if essential(name) {
					return nil, errors.New("field Connection names a field that is not the client's to drop")
				}
			}
		}
	}
	switch {
	case hosts > 1 || hosts == 0 && !http10:
		return nil, fmt.Errorf("%d Host fields, want one", hosts)
	case hosts == 1 && !validHost(host):
		return nil, errors.New("field Host is not a host")
	case codings > 1 || lengths > 1:
		return nil, errors.New("the body's length is said twice")
	case codings == 1 && lengths == 1:
		return nil, errors.New("both Transfer-Encoding and Content-Length")
	case codings == 1 && http10:
		return nil, errors.New("Transfer-Encoding in HTTP/1.0")
	}
	return host, nil
}

// maxOptions is how many names the Connection fields may have: every field is compared with each.
const maxOptions = 16

// essential reports whether a field is one that the proxy sets or needs, so that a Connection field
// which declares it hop-by-hop is an attack (or a mistake that would break the request).
func essential(name []byte) bool {
	for _, prefix := range [...]string{"Host", "Content-", "X-Forwarded-", "Forwarded", "X-Client-Cert", "Client-Cert", "Sec-WebSocket-", "Origin",
		"Cookie", "Authorization"} {
		if len(name) >= len(prefix) && head.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// validHost reports whether b is uri-host [ ":" port ] in the characters that occur in either
// (RFC 3986 §3.2.2); what they spell is the routes' to know.
func validHost(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case bytes.IndexByte([]byte("-._~%!$&'()*+,;=:[]"), c) >= 0:
		default:
			return false
		}
	}
	return len(b) > 0
}

// originForm is the target as a backend gets it. A target in absolute form must name the host that
// Host names (RFC 9112 §3.2.2); its scheme says nothing that the listener does not know.
func originForm(target, host []byte) ([]byte, error) {
	if bytes.IndexByte(target, '#') >= 0 {
		return nil, errors.New("fragment in the request target")
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
			return nil, errors.New("request target and Host name different hosts")
		}
		if len(path) == 0 || path[0] == '?' {
			path = append([]byte("/"), path...)
		}
		return path, nil
	}
	return nil, errors.New("request target is neither a path nor an http URL")
}
