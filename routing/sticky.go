package routing

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Sticky brings a client back to its backend with a cookie. Its value is who the backend is and that
// wsproxy says so, both under the key: nobody learns from it which backend that is, nor can choose
// another. Methods may be called from any goroutine; those of nil know no cookie.
type Sticky struct {
	route *Route
	cfg   StickyConfig
	key   []byte // never printed: see Format
	drawn bool   // the key is random
}

// stickyID is a backend as a cookie names it, stickyMAC is what proves that wsproxy has made it.
type (
	stickyID  [8]byte
	stickyMAC [16]byte
)

// stickyLength is that of a cookie's value.
var stickyLength = base64.RawURLEncoding.EncodedLen(len(stickyID{}) + len(stickyMAC{}))

// newSticky has a key of its own unless cfg has one; previous, unless nil, hands its own on.
func newSticky(route *Route, cfg StickyConfig, previous *Sticky) *Sticky {
	s := &Sticky{route: route, cfg: cfg, key: []byte(cfg.Key)}
	if len(s.key) > 0 {
		return s
	}
	s.drawn = true
	if previous != nil && previous.drawn {
		s.key = previous.key
	} else {
		s.key = make([]byte, sha256.Size)
		rand.Read(s.key) // it never fails
	}
	return s
}

// Cookie is the name of the cookie, empty for a nil Sticky.
func (s *Sticky) Cookie() string {
	if s == nil {
		return ""
	}
	return s.cfg.Cookie
}

// Backend is the one that the value of a cookie names, nil when that is not one of the route's, or the
// value is none of ours. Whether the backend can be used is another matter: Pick and Acquire see to
// that, and look at the cookie by themselves. Where they give another than Backend does, the client is
// to get SetCookie.
func (s *Sticky) Backend(value []byte) *Backend {
	if s == nil {
		return nil
	}
	if m := s.route.candidates.Load().named(value); m != nil {
		return m.backend
	}
	return nil
}

// SetCookie is the value of a Set-Cookie field that brings the client back to b. https says that the
// client has come over TLS.
func (s *Sticky) SetCookie(b *Backend, https bool) string {
	id, mac := s.sign(b)
	var c strings.Builder
	c.WriteString(s.cfg.Cookie + "=" + base64.RawURLEncoding.EncodeToString(append(id[:], mac[:]...)))
	c.WriteString("; Path=" + s.cfg.Path)
	if s.cfg.Domain != "" {
		c.WriteString("; Domain=" + s.cfg.Domain)
	}
	if s.cfg.MaxAge > 0 {
		c.WriteString("; Max-Age=" + strconv.FormatInt(int64(s.cfg.MaxAge/time.Second), 10))
	}
	if s.cfg.Secure == "on" || s.cfg.Secure == "auto" && https {
		c.WriteString("; Secure")
	}
	if !s.cfg.ScriptAccess {
		c.WriteString("; HttpOnly")
	}
	c.WriteString("; SameSite=" + strings.ToUpper(s.cfg.SameSite[:1]) + s.cfg.SameSite[1:])
	return c.String()
}

// Format prints everything but the key, whatever the verb.
func (s *Sticky) Format(f fmt.State, verb rune) {
	if s == nil {
		f.Write([]byte("off"))
		return
	}
	s.cfg.Format(f, verb)
}

// candidate is the one of c that the request's cookie names, nil for none.
func (s *Sticky) candidate(c *candidates, ask *Ask) *candidate {
	if s == nil || ask.Cookie == nil {
		return nil
	}
	return c.named(ask.Cookie(s.cfg.Cookie))
}

// named is the candidate that a cookie's value names, nil for none. It computes nothing under the key:
// what the values of all candidates are has been worked out in advance.
func (c *candidates) named(value []byte) *candidate {
	var raw [len(stickyID{}) + len(stickyMAC{})]byte
	if len(value) != stickyLength {
		return nil
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], value); err != nil || n != len(raw) {
		return nil
	}
	m := c.byID[stickyID(raw[:])]
	if m == nil || subtle.ConstantTimeCompare(m.cookie[:], raw[len(stickyID{}):]) == 0 {
		return nil
	}
	return m
}

// sign gives what names a backend.
func (s *Sticky) sign(b *Backend) (id stickyID, mac stickyMAC) {
	copy(id[:], s.mac("backend", b.identity))
	copy(mac[:], s.mac("cookie", string(id[:])))
	return id, mac
}

// mac is HMAC-SHA256 of a text used for purpose.
func (s *Sticky) mac(purpose, text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte("wsproxy sticky " + purpose + "\x00" + text))
	return h.Sum(nil)
}
