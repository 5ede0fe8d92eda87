package front_test

import (
	"fmt"
	"strings"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
)

// bad is a request that the proxy answers itself, on a connection it then closes. Each has the word mark in
// what is wrong with it, which must not come back.
type bad struct {
	name, request string
	status        int
	reason        string
}

// badHeads are no heads, or heads that two readers read in two ways.
var badHeads = []bad{
	// Line ends.
	{"bare LF behind the request line", "GET /mark HTTP/1.1\nHost: mark\r\n\r\n", 400, "bare_line_end"},
	{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: mark\nX: b\r\n\r\n", 400, "bare_line_end"},
	{"bare LF everywhere", "GET /mark HTTP/1.1\nHost: mark\n\n", 400, "bare_line_end"},
	{"bare LF for the empty line", "GET /mark HTTP/1.1\r\nHost: a\r\n\n", 400, "bare_line_end"},
	{"LF LF before CRLF CRLF", "GET / HTTP/1.1\r\nHost: a\n\nGET /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_line_end"},
	{"bare LF first", "\nGET /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_line_end"},
	{"bare LF in the method", "MARK\n / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_line_end"},
	{"bare LF in the target", "GET /mark\n HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_line_end"},
	{"bare LF in a name", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark\nY: b\r\n\r\n", 400, "bare_line_end"},
	{"bare CR behind the request line", "GET /mark HTTP/1.1\rHost: a\r\n\r\n", 400, "bare_line_end"},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: mark\rY: c\r\n\r\n", 400, "bare_line_end"},
	{"CR CR LF behind a field", "GET / HTTP/1.1\r\nHost: a\r\nX: mark\r\r\n\r\n", 400, "bare_line_end"},
	{"CR CR LF for the empty line", "GET / HTTP/1.1\r\nHost: mark\r\n\r\r\n", 400, "bare_line_end"},
	{"bare CR in the target", "GET /mark\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"bare CR in a name", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark\rY: b\r\n\r\n", 400, "field_name"},
	{"bare CR first", "\rGET /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_line_end"},

	// Folding.
	{"a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n mark\r\n\r\n", 400, "folded_field"},
	{"a field folded with a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tmark\r\n\r\n", 400, "folded_field"},
	{"a first field that is indented", "GET / HTTP/1.1\r\n Host: mark\r\n\r\n", 400, "folded_field"},
	{"a last line of white space", "GET / HTTP/1.1\r\nHost: mark\r\n \r\n\r\n", 400, "folded_field"},
	{"a folded length", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 3\r\n\r\nabc", 400, "folded_field"},
	{"a folded coding", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, "folded_field"},

	// Names.
	{"a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark : mark\r\n\r\n", 400, "field_name"},
	{"a tab before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark\t: mark\r\n\r\n", 400, "field_name"},
	{"a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Mark: mark\r\n\r\n", 400, "field_name"},
	{"an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: mark\r\n\r\n", 400, "field_name"},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark\r\n\r\n", 400, "field_name"},
	{"a name with a slash", "GET / HTTP/1.1\r\nHost: a\r\nX/Mark: mark\r\n\r\n", 400, "field_name"},
	{"a name in quotes", "GET / HTTP/1.1\r\nHost: a\r\n\"X-Mark\": mark\r\n\r\n", 400, "field_name"},
	{"a name with a high byte", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark\xe9: mark\r\n\r\n", 400, "field_name"},
	{"a name with NUL", "GET / HTTP/1.1\r\nHost: a\r\nX-Mark\x00: mark\r\n\r\n", 400, "field_name"},
	{"an underscore in a name", "GET / HTTP/1.1\r\nHost: a\r\nX_Mark: mark\r\n\r\n", 400, "field_underscore"},
	{"an underscore in a length's name", "POST / HTTP/1.1\r\nHost: mark\r\nContent_Length: 3\r\n\r\nabc", 400, "field_underscore"},
	{"an underscore first", "GET / HTTP/1.1\r\nHost: a\r\n_mark: mark\r\n\r\n", 400, "field_underscore"},

	// Control characters.
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: mark\x00\r\n\r\n", 400, "field_value"},
	{"a vertical tab in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: mark\x0b\r\n\r\n", 400, "field_value"},
	{"a form feed before a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x0cmark\r\n\r\n", 400, "field_value"},
	{"an escape in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[31mmark\r\n\r\n", 400, "field_value"},
	{"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: mark\x7f\r\n\r\n", 400, "field_value"},
	{"NUL in the target", "GET /mark\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"a tab in the target", "GET /\tmark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"a control character in the target", "GET /\x01mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"DEL in the target", "GET /mark\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"a control character in the method", "MARK\x01 / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method_token"},
	{"NUL first", "\x00GET /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method_token"},

	// The request line.
	{"two spaces before the target", "GET  /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"two spaces behind the target", "GET /mark  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"a space in the target", "GET /mark x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"a space behind the version", "GET /mark HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "version"},
	{"a space first", " GET /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"a tab for a space", "GET\t/mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method_token"},
	{"a method that is no token", "G(MARK / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method_token"},
	{"a method that is too long", strings.Repeat("MARK", 9) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method_token"},
	{"one word", "MARK\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"two empty lines first", "\r\n\r\nGET /mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},

	// Versions.
	{"HTTP/0.9", "GET /mark\r\n\r\n", 400, "request_line"},
	{"HTTP/0.9 in words", "GET /mark HTTP/0.9\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/1.2", "GET /mark HTTP/1.2\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/1.10", "GET /mark HTTP/1.10\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/1", "GET /mark HTTP/1\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/01.1", "GET /mark HTTP/01.1\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/1,1", "GET /mark HTTP/1,1\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/2.0", "GET /mark HTTP/2.0\r\nHost: a\r\n\r\n", 400, "version"},
	{"HTTP/3", "GET /mark HTTP/3\r\nHost: a\r\n\r\n", 400, "version"},
	{"http/1.1", "GET /mark http/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmark", 400, "version"},
	{"another protocol", "GET / MARK/1.1\r\nHost: a\r\n\r\n", 400, "request_line"},
}

// badFraming are requests of which two readers may take the body for something else.
var badFraming = []bad{
	{"two lengths, equal", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "length_twice"},
	{"two lengths, different", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400, "length_twice"},
	{"a list of lengths", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400, "length"},
	{"a length with a sign", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400, "length"},
	{"a negative length", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 400, "length"},
	{"a length in hexadecimal", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400, "length"},
	{"a length with a point", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3.0\r\n\r\nabc", 400, "length"},
	{"a length with an underscore", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nabc", 400, "length"},
	{"a length with a space in it", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3 0\r\n\r\nabc", 400, "length"},
	{"a length in quotes", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: \"3\"\r\n\r\nabc", 400, "length"},
	{"an empty length", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, "length"},
	{"a word for a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: mark\r\n\r\n", 400, "length"},
	{"a length of other digits", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa3\r\n\r\nabc", 400, "length"},
	{"a length that overflows", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc", 400, "length"},
	{"a length and chunked", "POST /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
		"transfer_encoding_and_length"},
	{"chunked and a length", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400,
		"transfer_encoding_and_length"},
	{"chunked and a length of zero", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400,
		"transfer_encoding_and_length"},
	{"chunked twice", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
		"transfer_encoding"},
	{"chunked in other letters", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 400, "transfer_encoding"},
	{"two codings", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "transfer_encoding"},
	{"no coding", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400, "transfer_encoding"},
	{"an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: mark\r\n\r\n0\r\n\r\n", 400, "transfer_encoding"},
	{"identity", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400, "transfer_encoding"},
	{"identity and a length", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", 400,
		"transfer_encoding"},
	{"chunked in HTTP/1.0", "POST /mark HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "transfer_encoding"},
	{"chunked and a length in HTTP/1.0", "POST /mark HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400,
		"transfer_encoding"},
	{"a trailer that frames", "POST /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n", 400, "malformed"},
}

// badMeaning are requests that are well-formed and say what a proxy must not pass on.
var badMeaning = []bad{
	// Hosts.
	{"no Host", "GET /mark HTTP/1.1\r\nX: b\r\n\r\n", 400, "host_count"},
	{"no field at all", "GET /mark HTTP/1.1\r\n\r\n", 400, "host_count"},
	{"an empty Host", "GET /mark HTTP/1.1\r\nHost:\r\n\r\n", 400, "host_count"},
	{"an empty Host in HTTP/1.0", "GET /mark HTTP/1.0\r\nHost:\r\n\r\n", 400, "host"},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: mark\r\n\r\n", 400, "host_count"},
	{"two Hosts, equal", "GET / HTTP/1.1\r\nHost: mark\r\nhost: mark\r\n\r\n", 400, "host_count"},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: mark\r\nHost: mark\r\n\r\n", 400, "host_count"},
	{"a Host with a path", "GET / HTTP/1.1\r\nHost: a/mark\r\n\r\n", 400, "host"},
	{"a Host with a query", "GET / HTTP/1.1\r\nHost: a?mark\r\n\r\n", 400, "host"},
	{"a Host with a fragment", "GET / HTTP/1.1\r\nHost: a#mark\r\n\r\n", 400, "host"},
	{"a Host with a user", "GET / HTTP/1.1\r\nHost: mark@a\r\n\r\n", 400, "host"},
	{"a Host with a space", "GET / HTTP/1.1\r\nHost: a mark\r\n\r\n", 400, "host"},
	{"a Host with a tab", "GET / HTTP/1.1\r\nHost: a\tmark\r\n\r\n", 400, "host"},
	{"a Host with a backslash", "GET / HTTP/1.1\r\nHost: a\\mark\r\n\r\n", 400, "host"},
	{"a Host in quotes", "GET / HTTP/1.1\r\nHost: \"mark\"\r\n\r\n", 400, "host"},
	{"a Host with high bytes", "GET / HTTP/1.1\r\nHost: mark\xc3\xa4\r\n\r\n", 400, "host"},
	{"a Host that is a URL", "GET / HTTP/1.1\r\nHost: http://mark\r\n\r\n", 400, "host"},
	{"a Host with a word for a port", "GET / HTTP/1.1\r\nHost: a:mark\r\n\r\n", 400, "host"},
	{"a Host that is only a port", "GET /mark HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "host"},
	{"a Host with an escaped line end", "GET / HTTP/1.1\r\nHost: a%0d%0amark\r\n\r\n", 400, "malformed"},
	{"a list of Hosts", "GET / HTTP/1.1\r\nHost: a, mark\r\n\r\n", 400, "host"},

	// Targets.
	{"a URL with another host", "GET http://mark/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_target"},
	{"a URL with another port", "GET http://a:81/mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_target"},
	{"a URL with a port of no number", "GET http://a:/mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_target"},
	{"a URL with a user", "GET http://mark@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_target"},
	{"a URL without a host", "GET http:///mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_target"},
	{"a URL whose host ends in a backslash", "GET http://a\\mark/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_target"},
	{"a URL in HTTP/1.0 without Host", "GET http://mark/x HTTP/1.0\r\n\r\n", 400, "host_target"},
	{"a URL of another scheme", "GET ftp://a/mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"},
	{"a URL without slashes", "GET http:mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: mark\r\n\r\n", 400, "target"},
	{"asterisk with GET", "GET * HTTP/1.1\r\nHost: mark\r\n\r\n", 400, "target"},
	{"no slash", "GET mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"},
	{"a query without a path", "GET ?mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"},
	{"a backslash for a slash", "GET \\mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"},
	{"a fragment", "GET /mark#mark HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment"},
	{"a malformed escape", "GET /mark%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "escape"},
	{"half an escape", "GET /mark%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "escape"},

	// What is not the client's to drop.
	{"Connection drops Host", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n", 400, "connection_name"},
	{"Connection drops where it came from", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n", 400, "connection_name"},
	{"Connection drops any of those", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-mark\r\n\r\n", 400, "connection_name"},
	{"Connection drops Forwarded", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: forwarded\r\n\r\n", 400, "connection_name"},
	{"Connection drops who it is", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: x-client-cert-subject\r\n\r\n", 400, "connection_name"},
	{"Connection drops whose certificate it is", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: Client-Cert\r\n\r\n", 400, "connection_name"},
	{"Connection drops cookies", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: cookie\r\nCookie: b\r\n\r\n", 400, "connection_name"},
	{"Connection drops a password", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: authorization\r\n\r\n", 400, "connection_name"},
	{"Connection drops a length", "POST /mark HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 3\r\n\r\nabc", 400, "connection_name"},
	{"Connection drops chunks",
		"POST /mark HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "connection_name"},
	{"Connection drops it in a second field", "GET /mark HTTP/1.1\r\nHost: a\r\nConnection: x\r\nconnection: y,,host\r\n\r\n", 400, "connection_name"},
	{"Connection names very many", "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("mark,", 17) + "\r\n\r\n", 400, "connection_size"},

	// Methods.
	{"CONNECT", "CONNECT mark:443 HTTP/1.1\r\nHost: mark:443\r\n\r\n", 405, "method"},
	{"CONNECT of a path", "CONNECT /mark HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"},
	{"CONNECT with a body", "CONNECT /mark HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405, "method"},
	{"TRACE", "TRACE /mark HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"},
	{"TRACE with a body framed in two ways",
		"TRACE /mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 405, "method"},
}

// behind stands behind every one of them: were the connection not closed, it would be a request.
const behind = "GET /smuggled HTTP/1.1\r\nHost: mark\r\n\r\n"

func TestGateRefuses(t *testing.T) {
	backend := fronttest.Listen(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr})
	for _, rows := range [][]bad{badHeads, badFraming, badMeaning} {
		for _, tt := range rows {
			t.Run(tt.name, func(t *testing.T) {
				tt.check(t, p, backend, 0)
				tt.check(t, p, backend, 1)
			})
		}
	}
}

// check sends the request, and another behind it, in pieces of a size, 0 for in one, and holds what comes
// of it against the row: the answer and nothing behind it, one more of the reason and of no other, one line
// of the log; and no word of the request in any of it, and nothing for the backend.
func (tt *bad) check(t *testing.T, p *fronttest.Proxy, backend *fronttest.Backend, piece int) {
	t.Helper()
	if !strings.Contains(strings.ToLower(tt.request), "mark") {
		t.Fatal("no mark in the request")
	}
	before, lines := p.Server.Refused(), len(p.Log.Shown())
	c := fronttest.Dial(t, p.Addr)
	defer c.Close()
	sendIn(c, tt.request+behind, piece)
	r, body := c.Answer()
	if r.StatusCode != tt.status || !r.Close {
		t.Errorf("answer = %d %q, close %v, want %d and the end", r.StatusCode, body, r.Close, tt.status)
	}
	if strings.Count(body, "\n") != 1 || !strings.HasSuffix(body, "\n") {
		t.Errorf("body = %q, want one line", body)
	}
	if rest := c.Rest(); rest != "" {
		t.Errorf("behind the answer: %q, want the end", rest)
	}
	for reason, n := range p.Server.Refused() {
		want := before[reason]
		if reason == tt.reason {
			want++
		}
		if n != want {
			t.Errorf("refused for %s: %d, want %d", reason, n, want)
		}
	}
	shown := p.Log.Shown()[lines:]
	if want := fmt.Sprintf(" status=%d reason=%s ", tt.status, tt.reason); len(shown) != 1 || !strings.Contains(shown[0], want) {
		t.Errorf("log = %q, want one line with%s", shown, want)
	}
	var head strings.Builder
	_ = r.Header.Write(&head)
	if answer := strings.ToLower(r.Status + head.String() + body); strings.Contains(answer, "mark") {
		t.Errorf("the answer echoes the request: %q", answer)
	}
	for _, line := range append(p.Log.Lines("mark"), p.Log.Lines("MARK")...) {
		t.Errorf("the log echoes the request: %s", line)
	}
	backend.Untouched()
}

// sendIn sends as much of text as the other side takes, in pieces of a size or in one.
func sendIn(c *fronttest.Conn, text string, piece int) {
	for len(text) > 0 {
		n := len(text)
		if piece > 0 {
			n = min(piece, n)
		}
		if _, err := c.Write([]byte(text[:n])); err != nil {
			return // it has been refused by now
		}
		text = text[n:]
	}
}

// Sizes are refused by the defaults that proxy.yaml documents, and by what a Config says.
func TestGateRefusesSizes(t *testing.T) {
	head := func(size int) string { // of so many bytes
		const start, end = "GET / HTTP/1.1\r\nHost: a\r\nX-Mark: mark", "\r\n\r\n"
		return start + strings.Repeat("x", size-len(start)-len(end)) + end
	}
	target := func(size int) string {
		return "GET /mark" + strings.Repeat("x", size-len("/mark")) + " HTTP/1.1\r\nHost: a\r\n\r\n"
	}
	fields := func(n int) string {
		return "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-Mark: mark\r\n", n-1) + "\r\n"
	}
	post := func(size int, length string) string {
		return "POST /mark HTTP/1.1\r\nHost: a\r\n" + length + "\r\n\r\n" + strings.Repeat("x", size)
	}
	small := func(c *front.Config) {
		c.Limits.HeaderSize, c.Limits.HeaderFields, c.Limits.URISize, c.Limits.BodySize = 4<<10, 10, 100, 1000
	}
	for _, tt := range []struct {
		bad
		set func(*front.Config)
		fit string // what is a byte or a field less passes
	}{
		{bad{"a head", head(16<<10 + 1), 431, "header_size"}, nil, head(16 << 10)},
		{bad{"fields", fields(101), 431, "header_fields"}, nil, fields(100)},
		{bad{"a target", target(8<<10 + 1), 414, "uri_size"}, nil, target(8 << 10)},
		{bad{"a target larger than a head", target(20 << 10), 414, "uri_size"}, nil, ""},
		{bad{"many fields in a large head", fields(4 << 10), 431, "header_fields"}, nil, ""},
		{bad{"a head, set", head(4<<10 + 1), 431, "header_size"}, small, head(4 << 10)},
		{bad{"fields, set", fields(11), 431, "header_fields"}, small, fields(10)},
		{bad{"a target, set", target(101), 414, "uri_size"}, small, target(100)},
		{bad{"a URL, set", strings.Replace(target(93), "GET /", "GET http://a/", 1), 414, "uri_size"}, small,
			strings.Replace(target(92), "GET /", "GET http://a/", 1)},
		{bad{"a body, set", post(1001, "Content-Length: 1001"), 413, "body_size"}, small, post(1000, "Content-Length: 1000")},
		{bad{"a body that is not sent, set", post(0, "Content-Length: 9223372036854775807"), 413, "body_size"}, small, ""},
		{bad{}, nil, post(100_000, "Content-Length: 100000")}, // there is no limit by default
	} {
		name := tt.name
		if name == "" {
			name = "a body, by default"
		}
		t.Run(name, func(t *testing.T) {
			backend := fronttest.Listen(t)
			p := fronttest.Start(t, fronttest.Config{Backend: backend.Addr, Front: tt.set})
			if tt.request != "" {
				tt.check(t, p, backend, 0)
				tt.check(t, p, backend, 1000)
			}
			if tt.fit == "" {
				return
			}
			c := fronttest.Dial(t, p.Addr)
			c.Send(tt.fit)
			b := backend.Accept()
			b.Request()
			b.Send("HTTP/1.1 204 No Content\r\n\r\n")
			if r, body := c.Answer(); r.StatusCode != 204 {
				t.Errorf("what just fits gets %d %q, want 204", r.StatusCode, body)
			}
		})
	}
}
