package front_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wsproxy/internal/front/fronttest"
)

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// smuggle sends a request on a connection of its own, through a proxy of its own, to a recorder, and returns
// the status of each answer and what the backend has heard.
func smuggle(t *testing.T, request string) (answers []string, heard []string) {
	t.Helper()
	backend := record(t)
	p := fronttest.Start(t, fronttest.Config{Backend: backend.addr})
	c := fronttest.Dial(t, p.Addr)
	c.Send(request)
	for line := range strings.SplitSeq(c.Rest(), "\r\n") {
		if status, ok := strings.CutPrefix(line, "HTTP/1.1 "); ok {
			answers = append(answers, status[:3])
		}
	}
	c.Close()
	p.Stop()
	return answers, backend.stop()
}

// codings are ways to write Transfer-Encoding: chunked that some reader takes for it and another does not.
var codings = []string{
	"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer-Encoding \t: chunked",
	"Transfer-Encoding:\x0bchunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x0b", "Transfer-Encoding:\x0cchunked",
	"Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx", "Transfer-Encoding: chunk", "Transfer-Encoding: x chunked",
	"Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: identity",
	"Transfer-Encoding: chunked, chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: ,chunked",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-encoding: x",
	"Transfer-Encoding: Chunked", "Transfer-Encoding: CHUNKED", "transfer-encoding: cHuNkEd",
	" Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked",
	"Transfer-Encoding:\r\n\tchunked", "Transfer-Encoding: x\r\n chunked", "Transfer-Encoding:\n chunked",
	"X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked", "X: y\r\rTransfer-Encoding: chunked", "X: y\n\rTransfer-Encoding: chunked",
	"Transfer-Encoding: chunked\x00", "Transfer-Encoding: \x00chunked", "\x00Transfer-Encoding: chunked", "Transfer\x00-Encoding: chunked",
	"Transfer-Encoding: \"chunked\"", "Transfer-Encoding: 'chunked'", "Transfer-Encoding: (x)chunked", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: chunked;",
	"Transfer_Encoding: chunked", "Transfer Encoding: chunked", "Transfer-Encoding; chunked", "Transfer-Encoding= chunked", "Transfer-Encoding chunked",
	"Transfer-Encoding:: chunked", "Transfer-Encoding: : chunked", "Transfer\xadEncoding: chunked", "Transfer-Encoding: chunked\x7f",
	"Transfer-Encoding: \xa0chunked", "Transfer-Encoding: \xc2\xa0chunked", "Transfer-Encoding: c\xe1\xb8\xa9unked", "Transfer-Encoding: chun\xe2\x84\xaaed",
	"Transfer-Encoding: \xef\xbb\xbfchunked", "Transfer-Encoding:", "Transfer-Encoding: \t", ": chunked", "Transfer-Encoding: 0", "Transfer-Encoding: chunked\\r\\n",
	"\"Transfer-Encoding\": chunked", "Transfer-Encoding\xa0: chunked", "Content-Encoding\rTransfer-Encoding: chunked",
}

// Whoever reads the coding otherwise than we do would find another request where its body is, so that it is
// refused, with a length and without.
func TestObfuscatedCodingsAreRefused(t *testing.T) {
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	for _, coding := range codings {
		for name, request := range map[string]string{
			"CL.TE": "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + coding + "\r\n\r\n0\r\n\r\n" + smuggled,
			"TE.CL": "POST /first HTTP/1.1\r\nHost: a\r\n" + coding + "\r\nContent-Length: 4\r\n\r\n" + chunk,
			"TE.TE": "POST /first HTTP/1.1\r\nHost: a\r\n" + coding + "\r\n\r\n0\r\n\r\n" + smuggled,
			"TE.0":  "GET /first HTTP/1.1\r\nHost: a\r\n" + coding + "\r\n\r\n" + chunk,
		} {
			t.Run(fmt.Sprintf("%q/%s", coding, name), func(t *testing.T) {
				t.Parallel()
				answers, heard := smuggle(t, request)
				if !slices.Equal(answers, []string{"400"}) || len(heard) > 0 {
					t.Errorf("%q gets %q, and the backend hears %q; want a 400 and nothing", request, answers, heard)
				}
			})
		}
	}
}

// What passes is read in the one way that there is, and what stands behind it is a request only if that
// says so.
func TestBodiesEndWhereAStrictReaderSaysSo(t *testing.T) {
	const chunked = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	sized := func(n int) string {
		return fmt.Sprintf("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", n)
	}
	body := strings.ReplaceAll(smuggled, "Connection: close", "X: y") + strings.Repeat("x", 10)
	good := func(heard ...string) []string { return slices.Sorted(slices.Values(append(heard, "GET /smuggled "))) }
	for _, tt := range []struct {
		name, request string
		answers       []string
		heard         []string
	}{
		// The second is a request by anybody's reading.
		{"chunked", chunked + "3\r\nabc\r\n0\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first abc")},
		{"chunked without a space", strings.Replace(chunked, ": chunked", ":chunked", 1) + "0\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first ")},
		{"chunked with white space", strings.Replace(chunked, ": chunked", ":\t chunked \t", 1) + "0\r\n\r\n" + smuggled, []string{"200", "200"},
			good("POST /first ")},
		{"chunked in capitals", strings.Replace(chunked, "Transfer-Encoding", "TRANSFER-ENCODING", 1) + "0\r\n\r\n" + smuggled, []string{"200", "200"},
			good("POST /first ")},
		{"a length", sized(3) + "abc" + smuggled, []string{"200", "200"}, good("POST /first abc")},
		{"a length of zero", sized(0) + smuggled, []string{"200", "200"}, good("POST /first ")},
		{"no length", "POST /first HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first ")},
		{"an extension", chunked + "3;a=\"b;c\"\r\nabc\r\n0;x\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first abc")},
		{"a padded size", chunked + "3 \r\nabc\r\n0\t\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first abc")},
		{"zeros before a size", chunked + "0000000000000003\r\nabc\r\n000\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first abc")},
		{"a size in capitals", chunked + "A\r\n0123456789\r\n0\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first 0123456789")},
		{"trailers that would frame", chunked + "0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n" + smuggled,
			[]string{"200", "200"}, good("POST /first ")},

		// The second is the body of the first.
		{"a request in a sized body", sized(len(body)) + body + smuggled, []string{"200", "200"}, good("POST /first " + body)},
		{"a request in a chunk", chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) + smuggled, []string{"200", "200"},
			good("POST /first " + body)},
		{"a last chunk in a sized body", sized(5) + "0\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first 0\r\n\r\n")},
		{"a last chunk in a chunk", chunked + "5\r\n0\r\n\r\n\r\n0\r\n\r\n" + smuggled, []string{"200", "200"}, good("POST /first 0\r\n\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answers, heard := smuggle(t, tt.request)
			if !slices.Equal(answers, tt.answers) || !slices.Equal(heard, tt.heard) {
				t.Errorf("%q gets %q, and the backend hears %q; want %q and %q", tt.request, answers, heard, tt.answers, tt.heard)
			}
		})
	}
}

// chunkTricks stand where a chunk is to begin, behind one with abc.
var chunkTricks = map[string]string{
	"0x":                  "0x0\r\n\r\n",
	"0x before a size":    "0x3\r\nabc\r\n0\r\n\r\n",
	"a plus":              "+3\r\nabc\r\n0\r\n\r\n",
	"a minus":             "-3\r\nabc\r\n0\r\n\r\n",
	"minus nothing":       "-0\r\n\r\n",
	"a space first":       " 3\r\nabc\r\n0\r\n\r\n",
	"a tab first":         "\t0\r\n\r\n",
	"no size":             "\r\n\r\n",
	"only an extension":   ";a=b\r\n\r\n",
	"no digit":            "g\r\nabc\r\n0\r\n\r\n",
	"an underscore":       "0_0\r\n\r\n",
	"a point":             "3.0\r\nabc\r\n0\r\n\r\n",
	"two sizes":           "3 3\r\nabc\r\n0\r\n\r\n",
	"quotes":              "\"0\"\r\n\r\n",
	"other digits":        "\xd9\xa0\r\n\r\n",
	"a vertical tab":      "0\x0b\r\n\r\n",
	"NUL":                 "0\x00\r\n\r\n",
	"too large by a bit":  "8000000000000000\r\n",
	"too large":           "fffffffffffffffff\r\n",
	"wraps to three":      "10000000000000003\r\nabc\r\n0\r\n\r\n",
	"very long":           strings.Repeat("0", 5000) + "\r\n\r\n",
	"LF only":             "3\nabc\n0\n\n",
	"LF behind a size":    "3\nabc\r\n0\r\n\r\n",
	"LF behind data":      "3\r\nabc\n0\r\n\r\n",
	"CR only":             "3\rabc\r0\r\r",
	"CR CR LF":            "0\r\r\n\r\n",
	"no end behind data":  "3\r\nabc0\r\n\r\n",
	"more than the size":  "3\r\nabcd\r\n0\r\n\r\n",
	"less than the size":  "5\r\nabc\r\n0\r\n\r\n",
	"CR in an extension":  "0;a\rb\r\n\r\n",
	"LF in an extension":  "0;a\n\r\n",
	"LF in a quoted one":  "0;a=\"\n\"\r\n\r\n",
	"NUL in an extension": "0;\x00\r\n\r\n",
	"LF for the end":      "0\r\n\n",
	"a space at the end":  "0\r\n \r\n\r\n",
	"a folded trailer":    "0\r\nX: y\r\n z\r\n\r\n",
	"a trailer in LF":     "0\r\nX: y\n\r\n",
	"CR in a trailer":     "0\r\nX: y\rz\r\n\r\n",
	"no name in trailers": "0\r\n: y\r\n\r\n",
	"a space in a name":   "0\r\nX : y\r\n\r\n",
	"a request for one":   "0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
	"very many trailers":  "0\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n",
}

// A body that is framed in a way that two readers may take for two ends has none.
func TestChunksThatReadersDisagreeAboutEndNoBody(t *testing.T) {
	const start = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
	for name, trick := range chunkTricks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers, heard := smuggle(t, start+trick+smuggled)
			if !slices.Equal(answers, []string{"400"}) {
				t.Errorf("%q gets %q, want a 400", trick, answers)
			}
			for _, one := range heard {
				if !strings.HasPrefix(one, "POST /first ") || !strings.HasSuffix(one, " …") {
					t.Errorf("behind %q the backend hears %q", trick, one)
				}
			}
			if len(heard) > 1 {
				t.Errorf("behind %q the backend hears %q", trick, heard)
			}
		})
	}
}
