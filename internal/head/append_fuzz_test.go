package head

import (
	"bytes"
	"net/netip"
	"testing"
)

// The head of a request that goes out is one as strict as what came in: it passes Check and Scanner,
// frames its body as the client did, and has no line that nobody wrote.
func FuzzRequestAppend(f *testing.F) {
	for i, seed := range []string{
		"Host: a\r\nContent-Length: 3\r\nConnection: x, close\r\nX: 1\r\n",
		"Host: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nExpect: 100-continue\r\nTrailer: X\r\n\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nconnection: keep-alive\r\n",
		"X-Forwarded-For: 10.0.0.1, [::1]:80\r\nX-Forwarded-Proto: wss\r\nX-Forwarded-Host: a,b\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Prefix: /a/\r\n",
		"Forwarded: for=\"[::1]\";host=\"a,b\", proto=http\r\nForwarded: for=\"\r\nX_Forwarded_For: 1\r\nClient-Cert: a\r\nx-client-cert-san: b\r\n",
	} {
		for bits := range uint8(8) {
			f.Add([]byte(seed), bits<<2|uint8(i&3), "x-a", "v", "X-Forwarded-For")
		}
	}
	f.Fuzz(func(t *testing.T, block []byte, bits uint8, name, value, removed string) {
		if Check(block) != nil {
			return
		}
		r := Request{
			Method: []byte("POST"), Target: []byte("/"), Host: "b:1", Fields: block,
			Upgrade: bits&4 != 0,
			Origin: Origin{
				Peer: netip.MustParseAddr("2001:db8::1"), Proto: "https", Host: "a:80", Port: 443, Prefix: "/p",
				Trusted: bits&8 != 0, Forwarded: bits&16 != 0,
			},
			Edit: fuzzEdit(bits, name, value, removed),
		}
		got := r.Append(nil)
		_, fields := checkHead(t, got)
		var s Scanner
		if n, done, err := s.Scan(got, &Limits{Underscores: true}); n != len(got) || !done {
			t.Fatalf("Scan(%q) = %d, %v, %v", got, n, done, err)
		}
		for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
			want := count(block, name)
			if r.Upgrade {
				want = 0
			}
			if n := count(fields, name); n != want {
				t.Errorf("%q from %q: %d %s, want %d", got, block, n, name, want)
			}
		}
		if n := count(fields, "Host"); n != max(1, count(block, "Host")) {
			t.Errorf("%q from %q: %d Host", got, block, n)
		}
		// Ours are six at most, and two are set or added.
		if in, out := count(block, ""), count(fields, ""); out > in+1+6+2 {
			t.Errorf("%q from %q: %d fields of %d", got, block, out, in)
		}
		if r.Edit != nil {
			return
		}
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"} {
			if n := count(fields, name); n != 1 {
				t.Errorf("%q from %q: %d %s", got, block, n, name)
			}
		}
		for field := range Fields(fields) {
			switch k := kindOf(field.Name); {
			case k == kindUnderscored, k == kindClientCert, k == kindForwarded && !r.Origin.Forwarded,
				k.hopByHop() && k != kindTransferEncoding && !r.Upgrade:
				t.Errorf("%q from %q: field %s", got, block, field.Name)
			case k == kindForwardedFor && len(field.Value) > maxList:
				t.Errorf("%q: %d bytes", field.Name, len(field.Value))
			case k == kindForwarded && quoteOpen(field.Value):
				t.Errorf("%q from %q: a quote that does not end", got, block)
			}
		}
		// Whoever stands behind us and trusts us finds who we say connected.
		ours := func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.9") }
		if client := ClientAddr(fields, netip.MustParseAddr("192.0.2.9"), ours, true); client != r.Origin.Peer {
			t.Errorf("%q from %q: the client is %v", got, block, client)
		}
	})
}

// The head of an answer that goes out passes Check, frames its body once, and has no line that nobody
// wrote.
func FuzzAnswerHeadAppend(f *testing.F) {
	for i, seed := range []string{
		"Date: a\r\nServer: b\r\nSet-Cookie: c\r\nset-cookie: d\r\nContent-Length: 3\r\ncontent-length: 3\r\n",
		"Transfer-Encoding: chunked\r\nTrailer: X\r\nConnection: X, transfer-encoding\r\nX: 1\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nKeep-Alive: 5\r\n",
	} {
		for bits := range uint8(16) {
			f.Add([]byte(seed), bits<<2|uint8(i&3), "x-a", "v", "Server")
		}
	}
	f.Fuzz(func(t *testing.T, block []byte, bits uint8, name, value, removed string) {
		if Check(block) != nil {
			return
		}
		r := Response{Status: 200, Reason: []byte("OK"), Fields: block}
		a := AnswerHead{
			Response: &r, Edit: fuzzEdit(bits, name, value, removed),
			Chunked: bits&4 != 0, DropLength: bits&8 != 0, Close: bits&16 != 0, KeepAlive: bits&32 != 0,
		}
		got := a.Append(nil)
		_, fields := checkHead(t, got)
		lengths, codings, connections := min(1, count(block, "Content-Length")), 0, 0
		if a.Chunked {
			codings = 1
		}
		if a.Chunked || a.DropLength {
			lengths = 0
		}
		if a.Close || a.KeepAlive {
			connections = 1
		}
		if n, m, o := count(fields, "Content-Length"), count(fields, "Transfer-Encoding"), count(fields, "Connection"); n != lengths ||
			m != codings || o != connections {
			t.Errorf("%q from %q: %d lengths, %d codings, %d Connection, want %d, %d, %d", got, block, n, m, o, lengths, codings, connections)
		}
		if in, out := count(block, ""), count(fields, ""); out > in+2+2 {
			t.Errorf("%q from %q: %d fields of %d", got, block, out, in)
		}
		for field := range Fields(fields) {
			switch k := kindOf(field.Name); {
			case k == kindTransferEncoding && string(field.Value) != "chunked":
				t.Errorf("%q from %q: coding %q", got, block, field.Value)
			case k == kindUpgrade, k == kindHop, k == kindTrailer && !a.Chunked:
				t.Errorf("%q from %q: field %s", got, block, field.Name)
			}
		}

		r.Status = 101
		got = r.Append(nil, a.Edit)
		_, fields = checkHead(t, got)
		if n, m := count(fields, "Content-Length"), count(fields, "Transfer-Encoding"); n+m > 0 {
			t.Errorf("%q from %q: %d lengths, %d codings", got, block, n, m)
		}
	})
}

// fuzzEdit makes an edit that a caller may pass on, nil of half the bits.
func fuzzEdit(bits uint8, name, value, removed string) *Edit {
	set := field(name, value)
	if bits&1 == 0 || Check(AppendField(nil, name, value)) != nil || !editable(name) || !editable(removed) {
		return nil
	}
	if bits&2 != 0 {
		return &Edit{Remove: []string{removed}, Add: []Field{set, set}}
	}
	return &Edit{Remove: []string{removed}, Set: []Field{set}, Add: []Field{set}}
}

func editable(name string) bool {
	switch k := kindOf([]byte(name)); k {
	case kindHost, kindContentLength, kindExpect, kindTrailer:
		return false
	default:
		return !k.hopByHop()
	}
}

// checkHead takes a head apart that must be whole.
func checkHead(t *testing.T, head []byte) (line, fields []byte) {
	line, fields, found := bytes.Cut(head, crlf)
	if !found || !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		t.Fatalf("%q does not end", head)
	}
	if err := Check(fields); err != nil {
		t.Fatalf("Check(%q) = %v", fields, err)
	}
	return line, fields
}

// count is how many fields of a block have a name, or how many there are.
func count(block []byte, name string) (n int) {
	for f := range Fields(block) {
		if name == "" || f.Is(name) {
			n++
		}
	}
	return n
}
