package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCurl(t *testing.T) {
	need(t, curl)
	large := newPayload(t, t.TempDir(), "large", "binary", noise(largeBody))
	backend := startHTTPBackend(t, large.file)
	proxy := startProxy(t, []route{
		{path: "/http/*", backend: backend.url},
		{path: "/down", backend: "http://" + deadAddress(t)},
	})
	for _, scheme := range []string{"http", "https"} {
		s := &site{proxy, backend, scheme, large}
		t.Run(scheme, func(t *testing.T) {
			for _, c := range []struct {
				name string
				run  func(*testing.T, *site)
			}{
				{"GET", get},
				{"methods", methods},
				{"two requests on one connection", twoRequests},
				{"HEAD", headOnly},
				{"204", noContent},
				{"304", notModified},
				{"range", byteRange},
				{"download of 100 MiB", download("/large")},
				{"download of 100 MiB in chunks", download("/large/chunked")},
				{"POST of 100 MiB", post},
				{"POST of 100 MiB in chunks", postChunked},
				{"POST that expects 100-continue", postContinue},
				{"POST of 100 MiB that is refused at once", postRefused},
				{"form with a file", postForm},
				{"streamed answer", streamed},
				{"compressed answer", compressed},
				{"trailers", trailers},
				{"answer that ends with its connection", untilTheEnd},
				{"HTTP 1.0", http10},
				{"backend down", backendDown},
				{"no route", noRoute},
			} {
				t.Run(c.name, func(t *testing.T) { c.run(t, s) })
			}
		})
	}
}

// decodeSeen reads what the backend has seen.
func decodeSeen(t *testing.T, answer string) seen {
	t.Helper()
	var got seen
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatalf("answer %q: %v", answer, err)
	}
	return got
}

func get(t *testing.T, s *site) {
	const target = "/http/see/a//b/%7e?q=a%20b&x=1;y"
	out := s.fetch(t, "--include", "-H", "Cookie: a=1; b=2", "-H", "X-Forwarded-For: 203.0.113.9",
		s.at(target))
	head, body, _ := strings.Cut(out, "\r\n\r\n")
	status, fields, _ := strings.Cut(head, "\r\n")
	if status != "HTTP/1.1 200 OK" {
		t.Errorf("status line %q, want HTTP/1.1 200 OK", status)
	}
	if !slices.Contains(strings.Split(fields, "\r\n"), "X-MiXeD-Case: kept") {
		t.Errorf("fields %q, want X-MiXeD-Case: kept among them", fields)
	}
	got := decodeSeen(t, body)
	if got.Target != target {
		t.Errorf("target %q, want %q", got.Target, target)
	}
	address := strings.TrimPrefix(s.proxy.at(s.scheme, ""), s.scheme+"://")
	if got.Host != address {
		t.Errorf("Host %q, want %q", got.Host, address)
	}
	for name, want := range map[string]string{
		"Cookie":            "a=1; b=2",
		"X-Forwarded-For":   "127.0.0.1", // not what the client says
		"X-Forwarded-Proto": s.scheme,
		"X-Forwarded-Host":  address,
	} {
		if values := got.Header[name]; !slices.Equal(values, []string{want}) {
			t.Errorf("backend got %s: %q, want %q", name, values, want)
		}
	}
}

func methods(t *testing.T, s *site) {
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS"} {
		if got := decodeSeen(t, s.fetch(t, "--request", method, s.at("/http/see"))); got.Method != method {
			t.Errorf("backend got %s, want %s", got.Method, method)
		}
	}
}

func twoRequests(t *testing.T, s *site) {
	out := s.fetch(t, "--output", os.DevNull, "--output", os.DevNull, "--write-out", `%{http_code} %{num_connects}\n`,
		s.at("/http/see?1"), s.at("/http/see?2"))
	if want := "200 1\n200 0\n"; out != want {
		t.Errorf("statuses and new connections %q, want %q", out, want)
	}
}

func headOnly(t *testing.T, s *site) {
	// A second request shows whether the answer to the first ended where it should.
	out := s.fetch(t, "--head", s.at("/http/large"), s.at("/http/large"), "--write-out", `%{num_connects} %{size_download}\n`)
	if n := strings.Count(out, fmt.Sprintf("Content-Length: %d\r\n", largeBody)); n != 2 {
		t.Errorf("answers %q, want two with the length of the body that they leave out", out)
	}
	if !strings.HasSuffix(out, "0 0\n") {
		t.Errorf("answers %q, want the second on the first's connection", out)
	}
}

func noContent(t *testing.T, s *site) {
	out := s.fetch(t, s.at("/http/status/204"), s.at("/http/status/204"), "--write-out", `%{http_code} %{num_connects} %{size_download}\n`)
	if want := "204 1 0\n204 0 0\n"; out != want {
		t.Errorf("statuses, new connections, sizes %q, want %q", out, want)
	}
}

func notModified(t *testing.T, s *site) {
	out := s.fetch(t, "-H", `If-None-Match: "large"`, s.at("/http/large"), s.at("/http/large"),
		"--write-out", `%{http_code} %{num_connects} %{size_download} %header{etag}\n`)
	if want := "304 1 0 \"large\"\n304 0 0 \"large\"\n"; out != want {
		t.Errorf("statuses, new connections, sizes, ETags %q, want %q", out, want)
	}
}

func byteRange(t *testing.T, s *site) {
	out := s.fetch(t, "--range", "1000-1999", s.at("/http/large"))
	if want := noise(2000)[1000:]; out != string(want) {
		t.Errorf("range of %d bytes, sha256 %s; want %d, %s", len(out), hash([]byte(out)), len(want), hash(want))
	}
}

func download(path string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		s.fetchLarge(t, s.at("/http"+path))
	}
}

func post(t *testing.T, s *site) {
	got := decodeSeen(t, s.fetch(t, "--request", "POST", "--upload-file", s.large.file, s.at("/http/see")))
	if got.Method != "POST" || got.Length != largeBody || got.SHA256 != s.large.sha256 {
		t.Errorf("backend got a %s of %d bytes, sha256 %s; want a POST of %d bytes, %s",
			got.Method, got.Length, got.SHA256, largeBody, s.large.sha256)
	}
}

func postChunked(t *testing.T, s *site) {
	file, err := os.Open(s.large.file)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := s.curl(t, "--request", "POST", "--upload-file", "-", s.at("/http/see"))
	// Of standard input curl does not know the length.
	cmd.Stdin = struct{ io.Reader }{file}
	out, _ := run(t, cmd)
	got := decodeSeen(t, out)
	if got.Length != -1 || got.Size != largeBody || got.SHA256 != s.large.sha256 {
		t.Errorf("backend got %d bytes of declared length %d, sha256 %s; want %d bytes in chunks, %s",
			got.Size, got.Length, got.SHA256, largeBody, s.large.sha256)
	}
}

func postContinue(t *testing.T, s *site) {
	out, stderr := run(t, s.curl(t, "--verbose", "-H", "Expect: 100-continue", "--data", "body", s.at("/http/see")))
	if got := decodeSeen(t, out); got.SHA256 != hash([]byte("body")) {
		t.Errorf("backend got a body of %d bytes, sha256 %s", got.Size, got.SHA256)
	}
	statuses := regexp.MustCompile(`(?m)^< HTTP/1.1 (\d+)`).FindAllStringSubmatch(stderr, -1)
	if len(statuses) != 2 || statuses[0][1] != "100" || statuses[1][1] != "200" {
		t.Errorf("statuses %q, want 100 and 200", statuses)
	}
}

// The backend answers without reading, while curl sends.
func postRefused(t *testing.T, s *site) {
	out := s.fetch(t, "--request", "POST", "--upload-file", s.large.file, "-H", "Expect:",
		"--write-out", "%{http_code}\n", s.at("/http/refuse"))
	if want := "too large for me\n413\n"; out != want {
		t.Errorf("answer %q, want %q", out, want)
	}
}

func postForm(t *testing.T, s *site) {
	out := s.fetch(t, "--form", "name=grüße", "--form", "upload=@"+s.large.file+";filename=large.bin", s.at("/http/form"))
	if want := fmt.Sprintf("name=grüße\nlarge.bin %d %s\n", largeBody, s.large.sha256); out != want {
		t.Errorf("backend got %q, want %q", out, want)
	}
}

// The backend sends a line and goes on when the client has it.
func streamed(t *testing.T, s *site) {
	st := s.stream(t)
	st.first()
	s.backend.steps <- struct{}{}
	st.rest()
}

func compressed(t *testing.T, s *site) {
	out := s.fetch(t, "--compressed", s.at("/http/gzip"), "--write-out", "%header{content-encoding}\n")
	if want := "compressed by the backend\ngzip\n"; out != want {
		t.Errorf("answer and its coding %q, want %q", out, want)
	}
}

func trailers(t *testing.T, s *site) {
	out := s.fetch(t, "--include", s.at("/http/trailers"))
	head, rest, _ := strings.Cut(out, "\r\n\r\n")
	if !strings.Contains(head, "\r\nTrailer: X-Checksum") {
		t.Errorf("head %q, want the trailers announced", head)
	}
	// curl shows trailers where they come, behind the body.
	if want := "body\nX-Checksum: good\r\n"; !strings.HasPrefix(rest, want) {
		t.Errorf("body and trailers %q, want %q", rest, want)
	}
}

func untilTheEnd(t *testing.T, s *site) {
	if out, want := s.fetch(t, s.at("/http/until-end")), strings.Repeat("until the end\n", 10_000); out != want {
		t.Errorf("%d bytes, want %d", len(out), len(want))
	}
}

func http10(t *testing.T, s *site) {
	// HTTP/1.0 knows no chunks.
	out := s.fetchLarge(t, "--http1.0", s.at("/http/large/chunked"),
		"--write-out", "%{stderr}%{http_code}, coding %header{transfer-encoding}")
	if want := "200, coding "; out != want {
		t.Errorf("answer %q, want %q", out, want)
	}
}

func backendDown(t *testing.T, s *site) {
	if out := s.fetch(t, "--output", os.DevNull, "--write-out", "%{http_code}", s.at("/down")); out != "502" {
		t.Errorf("status %s, want 502", out)
	}
}

func noRoute(t *testing.T, s *site) {
	if out := s.fetch(t, "--output", os.DevNull, "--write-out", "%{http_code}", s.at("/elsewhere")); out != "404" {
		t.Errorf("status %s, want 404", out)
	}
}

// deadAddress is one where nobody listens.
func deadAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
