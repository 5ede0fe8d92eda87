package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// report is what peers/browser/page.html has seen.
type report struct {
	Error                string
	Protocol, Extensions string
	Text, Binary         string // hashes of the messages
	Code                 int
	Reason               string
	Clean                bool
	SecondCode           int
}

// TestChromium has a browser get a page through wsproxy, whose script opens a WebSocket to the same
// port.
func TestChromium(t *testing.T) {
	need(t, nodeWS, pythonWebsockets, chromium)
	payloads := newPayloads(t)
	reports := make(chan report, 1)
	pages := httptest.NewServer(pageHandler(payloads, reports))
	t.Cleanup(pages.Close)
	all, _ := combinations(t, payloads, route{path: "/page/*", backend: pages.URL})

	// The clients have no part in this: a combination of each backend and scheme is enough.
	for _, c := range all {
		if c.from.name != ws.name || !c.taken {
			continue
		}
		scheme := map[string]string{"ws": "http", "wss": "https"}[c.scheme]
		t.Run(fmt.Sprintf("page over %s, backend %s", scheme, c.to.name), func(t *testing.T) {
			visit(t, c, scheme, reports)
		})
	}
}

// pageHandler serves the page and what it sends, and takes its report.
func pageHandler(payloads *payloads, reports chan<- report) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "from-the-page", HttpOnly: true, Path: "/"})
		http.ServeFile(w, r, "peers/browser/page.html")
	})
	mux.HandleFunc("GET /page/text", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, payloads.text.file)
	})
	mux.HandleFunc("GET /page/binary", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, payloads.largeBinary.file)
	})
	mux.HandleFunc("POST /page/report", func(w http.ResponseWriter, r *http.Request) {
		var got report
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			got.Error = err.Error()
		}
		reports <- got
	})
	return mux
}

// visit opens the page and holds the other end of its two WebSockets.
func visit(t *testing.T, c *combination, scheme string, reports <-chan report) {
	first, second := c.backend.end(t, linkName()), c.backend.end(t, linkName())
	query := url.Values{"path": {c.path("browser")}, "link": {first.link}, "second": {second.link}}
	browser := startChromium(t, c.proxy.at(scheme, "/page/?"+query.Encode()))

	request := first.await("open")
	origin := c.proxy.at(scheme, "")
	for name, want := range map[string]string{"Origin": origin, "Cookie": "session=from-the-page"} {
		if got := valueOf(request.Headers, name); got != want {
			t.Errorf("backend got %s: %q, want %q", name, got, want)
		}
	}
	text, binary := c.payloads.text, c.payloads.largeBinary
	first.awaitMessage(text)
	first.awaitMessage(binary)
	first.send(text)
	first.send(binary)
	first.close(4001, "später")
	first.awaitClose(4001, "später")
	second.await("open")
	second.awaitClose(3001, "by the page")

	var got report
	select {
	case got = <-reports:
	case <-browser.exited:
		t.Fatal("Chromium ended before its page was done")
	case <-time.After(patience):
		t.Fatal("no report of the page")
	}
	if !strings.HasPrefix(got.Extensions, "permessage-deflate") {
		t.Errorf("page has extensions %q, want permessage-deflate", got.Extensions)
	}
	got.Extensions = ""
	want := report{
		Protocol: "chat.v2", Text: text.sha256, Binary: binary.sha256,
		Code: 4001, Reason: "später", Clean: true, SecondCode: 3001,
	}
	if got != want {
		t.Errorf("page reports\n%+v, want\n%+v", got, want)
	}
	browser.terminate(t)
}

// startChromium opens a page in a browser that knows nothing and asks nobody else.
func startChromium(t *testing.T, page string) *process {
	t.Helper()
	// Not t.TempDir, which fails the test when a late child of the browser still writes there.
	dir, err := os.MkdirTemp(scratch, "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, dir)
	}
	return launch(t, "Chromium", func(string) {}, "chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--disable-breakpad", "--no-proxy-server",
		"--ignore-certificate-errors", "--user-data-dir="+filepath.Join(dir, "profile"), page)
}
