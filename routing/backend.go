package routing

import (
	"strings"
	"sync/atomic"
)

// Backend is one server that requests go to. A Table has one for each address and way to speak to it,
// shared by all routes that name it, so that what is counted here counts for the server.
type Backend struct {
	// Fixed at creation.

	// URL is as written in the file (where several routes write it differently, the first of them), for logs.
	URL string

	// Addr is the host:port to dial.
	Addr string

	// Host is what a Host header for this backend says: Addr without the scheme's default port.
	Host string

	// TLS is how to speak to it, nil for without.
	TLS *BackendTLS

	// Read and changed from anywhere.
	links atomic.Int64
}

func newBackend(url, addr string, tls *BackendTLS) *Backend {
	port := ":80"
	if tls != nil {
		port = ":443"
	}
	return &Backend{URL: url, Addr: addr, Host: strings.TrimSuffix(addr, port), TLS: tls}
}

// Acquire takes a slot for a link that is about to be opened. The caller owes exactly one Release.
func (b *Backend) Acquire() {
	b.links.Add(1)
}

// Release gives back the slot of one Acquire, once its link is over or was never opened. A Release
// too many is not noticed and leaves the count wrong for good.
func (b *Backend) Release() {
	b.links.Add(-1)
}

// Links is the number of slots taken: links open and being opened.
func (b *Backend) Links() int64 {
	return b.links.Load()
}

// HostFor is the Host to send to b, or empty when the client's is to be kept.
func (h HostHeader) HostFor(b *Backend) string {
	if h.Backend {
		return b.Host
	}
	return h.Literal
}
