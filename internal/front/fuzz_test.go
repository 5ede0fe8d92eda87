package front

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/body"
	"wsproxy/internal/head"
)

// Whatever the gate passes, net/http reads alike: method, target, host, framing and fields, and then the
// body, its trailers and where it ends. Two readers that agree leave no room to smuggle a request past one
// of them.
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
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n000A \r\n0123456789\r\n3;a=\"b;c\"\r\nabc\r\n0;x\r\nX: y\r\nx: z\r\n\r\nGET / HTTP/1.1",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n+0\n\n1\ra\r\n0\r\nX : y\r\n z\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n0\r\n\r\nGE",
		"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\n\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: a%zz\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var scanner head.Scanner
		size, done, err := scanner.Scan(stream, &head.Limits{Size: fuzzedSize, Target: fuzzedSize, Fields: 100, Underscores: true})
		if err != nil || !done {
			return
		}
		var h fasthttp.RequestHeader
		h.DisableNormalizing()
		br := bufio.NewReaderSize(bytes.NewReader(stream[:size]), fuzzedSize)
		if h.Read(br) != nil {
			return
		}
		if br.Buffered() > 0 {
			t.Errorf("%q: fasthttp leaves %d bytes of the head", stream, br.Buffered())
		}
		g, err := gate(&h)
		if err != nil {
			return
		}
		target := g.target
		if h.RequestURI()[0] != '/' && !plainHost(h.Host()) {
			return
		}
		otherReader := bufio.NewReaderSize(bytes.NewReader(bytes.TrimPrefix(stream, []byte("\r\n"))), fuzzedSize)
		other, err := http.ReadRequest(otherReader)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", stream, err)
		}
		if other.Method != string(h.Method()) {
			t.Errorf("%q: method %q, net/http %q", stream, h.Method(), other.Method)
		}
		if other.URL.Scheme == "" {
			if other.RequestURI != string(target) {
				t.Errorf("%q: target %q, net/http %q", stream, target, other.RequestURI)
			}
		} else if !strings.EqualFold(other.URL.Host, string(h.Host())) || !sameTarget(t, string(target), other.URL) {
			t.Errorf("%q: host %q and target %q, net/http %q", stream, h.Host(), target, other.URL)
		}
		if !strings.EqualFold(other.Host, string(h.Host())) {
			t.Errorf("%q: host %q, net/http %q", stream, h.Host(), other.Host)
		}
		length := g.length
		if other.ContentLength != length || (length == -1) != reflect.DeepEqual(other.TransferEncoding, []string{"chunked"}) {
			t.Errorf("%q: length %d, net/http %d %q", stream, length, other.ContentLength, other.TransferEncoding)
		}
		if got, want := len(stream)-size, otherReader.Buffered(); got != want && len(stream) < fuzzedSize {
			t.Errorf("%q: %d bytes behind the head, net/http %d", stream, got, want)
		}
		compareFields(t, stream, h.RawHeaders(), other.Header)
		compareBodies(t, stream, stream[size:], length, other, otherReader)
	})
}

// sameTarget reports whether a target in origin form is what a URL has behind its host.
func sameTarget(t *testing.T, target string, whole *url.URL) bool {
	t.Helper()
	own, err := url.ParseRequestURI("http://host" + target)
	if err != nil {
		t.Errorf("net/url refuses %q: %v", target, err)
		return false
	}
	return own.EscapedPath() == cmp.Or(whole.EscapedPath(), "/") && own.RawQuery == whole.RawQuery && own.ForceQuery == whole.ForceQuery
}

// compareBodies reads what stands behind a head as inbound does. What that refuses, or what is cut off, is
// passed on to nobody as a body.
func compareBodies(t *testing.T, stream, behind []byte, length int64, other *http.Request, otherReader *bufio.Reader) {
	t.Helper()
	rest := bytes.NewReader(behind)
	br := bufio.NewReaderSize(rest, 4<<10)
	var got, trailers []byte
	var err error
	switch {
	case length > 0:
		sized := body.NewSized(br, length)
		got, err = io.ReadAll(&sized)
	case length < 0:
		chunks := body.NewChunks(br)
		got, err = io.ReadAll(&chunks)
		trailers = chunks.Trailers()
	}
	if err != nil {
		return
	}
	want, err := io.ReadAll(other.Body)
	if err != nil {
		// net/http counts what is in chunks and is no data, and has no more of it than some kilobytes; what
		// is meant is the same.
		if !strings.Contains(err.Error(), "too much non-data") {
			t.Errorf("%q: body %q, net/http: %v", stream, got, err)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%q: body %q, net/http %q", stream, got, want)
	}
	left := br.Buffered() + rest.Len()
	if otherLeft := otherReader.Buffered(); left != otherLeft && len(stream) < fuzzedSize {
		t.Errorf("%q: %d bytes behind the body, net/http %d", stream, left, otherLeft)
	}
	fields := make(http.Header)
	for field := range head.Fields(trailers) {
		fields.Add(string(field.Name), string(field.Value))
	}
	for name := range other.Trailer {
		if len(other.Trailer[name]) == 0 {
			delete(other.Trailer, name) // announced, and not sent
		}
	}
	if len(fields)+len(other.Trailer) > 0 && !reflect.DeepEqual(fields, other.Trailer) {
		t.Errorf("%q: trailers %q, net/http %q", stream, fields, other.Trailer)
	}
}

// fuzzedSize bounds heads.
const fuzzedSize = 16 << 10

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

// plainHost reports whether a host is a name or an IPv4 address with at most a port, so that net/url
// finds it in a target in absolute form: of a stranger one wsproxy knows no route.
func plainHost(host []byte) bool {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && len(bytes.Trim(host[i+1:], "0123456789")) == 0 {
		host = host[:i]
	}
	return len(bytes.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")) == 0
}
