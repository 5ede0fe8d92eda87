package front

import (
	"bytes"

	"wsproxy/internal/head"
	"wsproxy/routing"
)

// ask is what the route wants to know of the request to pick a backend.
func (r *request) ask() *routing.Ask {
	a := &routing.Ask{Client: r.client, Path: r.path, Header: r.header, Cookie: r.cookie}
	if len(r.target) > len(r.path) {
		a.Query = r.target[len(r.path)+1:]
	}
	return a
}

// header is the first value of a header field, nil without one.
func (r *request) header(name string) []byte {
	for f := range head.Fields(r.ctx.Request.Header.RawHeaders()) {
		if f.Is(name) {
			return f.Value
		}
	}
	return nil
}

// cookie is the first value of a cookie, nil without one. Clients send the one of the longest path first
// (RFC 6265 §5.4).
func (r *request) cookie(name string) []byte {
	for f := range head.Fields(r.ctx.Request.Header.RawHeaders()) {
		if !f.Is("Cookie") {
			continue
		}
		for rest := f.Value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			if key, value, ok := bytes.Cut(bytes.TrimLeft(pair, " \t"), []byte("=")); ok && string(key) == name {
				return bytes.TrimRight(value, " \t")
			}
		}
	}
	return nil
}
