package front

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
)

// Whatever the gate passes, net/http reads alike: method, target, host, framing and fields. Two
// readers that agree leave no room to smuggle a request past one of them.
func FuzzGate(f *testing.F) {
	for _, seed := range []string{
		"GET /a?b=%20 HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n\x81\x80",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX:y \r\nx: \tz\r\n\r\nabcGET",
		"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
		"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET HTTPS://a?x HTTP/1.0\r\nHost: A\r\nConnection: keep-alive\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\nGET //a/../b HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\r\nX: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nX Y: b\r\nTransfer-Encoding : chunked\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: a%zz\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var h fasthttp.RequestHeader
		h.DisableNormalizing()
		br := bufio.NewReaderSize(bytes.NewReader(stream), defaultHeaderSize)
		if h.Read(br) != nil {
			return
		}
		target, err := gate(&h)
		if err != nil {
			return
		}
		if !plainTarget(target) || h.RequestURI()[0] != '/' && !plainHost(h.Host()) {
			return
		}
		otherReader := bufio.NewReaderSize(bytes.NewReader(bytes.TrimLeft(stream, "\r\n")), defaultHeaderSize)
		other, err := http.ReadRequest(otherReader)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", stream, err)
		}
		if other.Method != string(h.Method()) {
			t.Errorf("%q: method %q, net/http %q", stream, h.Method(), other.Method)
		}
		if got := other.URL.RequestURI(); other.URL.Scheme != "" && got != string(target) ||
			other.URL.Scheme == "" && other.RequestURI != string(target) {
			t.Errorf("%q: target %q, net/http %q", stream, target, got)
		}
		if !strings.EqualFold(other.Host, string(h.Host())) {
			t.Errorf("%q: host %q, net/http %q", stream, h.Host(), other.Host)
		}
		length := int64(h.ContentLength())
		if length == -2 { // fasthttp's word for neither field
			length = 0
		}
		if other.ContentLength != length || (length == -1) != reflect.DeepEqual(other.TransferEncoding, []string{"chunked"}) {
			t.Errorf("%q: length %d, net/http %d %q", stream, length, other.ContentLength, other.TransferEncoding)
		}
		if got, want := br.Buffered(), otherReader.Buffered(); got != want && len(stream) < defaultHeaderSize {
			t.Errorf("%q: %d bytes behind the head, net/http %d", stream, got, want)
		}
		compareFields(t, stream, h.RawHeaders(), other.Header)
	})
}

func compareFields(t *testing.T, stream, block []byte, other http.Header) {
	fields := make(http.Header)
	for field := range head.Fields(block) {
		// These net/http keeps elsewhere.
		if field.Is("Host") || field.Is("Transfer-Encoding") || field.Is("Trailer") {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(string(field.Name))
		fields[name] = append(fields[name], string(field.Value))
	}
	if _, ok := fields["Cache-Control"]; !ok && len(fields["Pragma"]) > 0 && fields["Pragma"][0] == "no-cache" {
		fields.Set("Cache-Control", "no-cache") // net/http adds it
	}
	other.Del("Trailer")
	if !reflect.DeepEqual(fields, other) {
		t.Errorf("%q: fields %q, net/http %q", stream, fields, other)
	}
}

// plainTarget reports whether net/url takes the target apart at all: it wants what % begins to be
// hexadecimal. wsproxy passes the bytes on as they came, so there is nothing to differ about.
func plainTarget(target []byte) bool {
	path, _, _ := bytes.Cut(target, []byte("?"))
	for i := range path {
		if path[i] == '%' && (i+2 >= len(path) || !hexadecimal(path[i+1]) || !hexadecimal(path[i+2])) {
			return false
		}
	}
	return true
}

func hexadecimal(c byte) bool { return bytes.IndexByte([]byte("0123456789abcdefABCDEF"), c) >= 0 }

// plainHost reports whether a host is a name or an IPv4 address with at most a port, so that net/url
// finds it in a target in absolute form: of a stranger one wsproxy knows no route.
func plainHost(host []byte) bool {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && len(bytes.Trim(host[i+1:], "0123456789")) == 0 {
		host = host[:i]
	}
	return len(bytes.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")) == 0
}
