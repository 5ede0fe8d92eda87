package interop

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// largeBody is the size of an upload or download that no buffer holds.
const largeBody = 100 << 20

// seen is a request as the backend saw it.
type seen struct {
	Method, Target, Proto, Host string
	Header                      http.Header
	Length                      int64 // of the body as declared, -1 when it came in chunks
	Size                        int64
	SHA256                      string
}

// httpBackend is a backend for plain HTTP: Go's server.
type httpBackend struct {
	url string

	// steps lets /steps go on with its next line. It holds one step: a test need not wait for a
	// handler that may have ended.
	steps chan struct{}
}

func startHTTPBackend(t *testing.T, large string) *httpBackend {
	b := &httpBackend{steps: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("/see", see)
	mux.HandleFunc("/form", form)
	mux.HandleFunc("/steps", b.inSteps)
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large for me", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/status/204", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		// With ETag, ServeFile answers 304 and HEAD, too.
		w.Header().Set("ETag", `"large"`)
		http.ServeFile(w, r, large)
	})
	mux.HandleFunc("/large/chunked", func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(large)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer file.Close()
		_, _ = io.Copy(struct{ io.Writer }{w}, file) // what fails shows at the client
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "compressed by the backend\n")
		_ = z.Close()
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Checksum")
		_, _ = io.WriteString(w, "body\n")
		w.Header().Set("X-Checksum", "good")
	})
	mux.HandleFunc("/until-end", untilEnd)
	// ServeMux redirects paths that are not clean, which see is to see.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/http/see/") {
			see(w, r)
			return
		}
		http.StripPrefix("/http", mux).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// see answers with what it has seen.
func see(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	size, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header()["X-MiXeD-Case"] = []string{"kept"} // Add would change the case
	_ = json.NewEncoder(w).Encode(seen{
		Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Header: r.Header, Length: r.ContentLength, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil)),
	})
}

// form answers with the fields and files of a form.
func form(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer r.MultipartForm.RemoveAll()
	fmt.Fprintf(w, "name=%s\n", r.FormValue("name"))
	file, header, err := r.FormFile("upload")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer file.Close()
	sum := sha256.New()
	_, _ = io.Copy(sum, file)
	fmt.Fprintf(w, "%s %d %x\n", header.Filename, header.Size, sum.Sum(nil))
}

// inSteps sends a line, waits until it may go on, and sends another.
func (b *httpBackend) inSteps(w http.ResponseWriter, r *http.Request) {
	flush := w.(http.Flusher).Flush
	fmt.Fprintln(w, "line 1")
	flush()
	select {
	case <-b.steps:
	case <-r.Context().Done():
		return
	case <-time.After(patience):
		return
	}
	fmt.Fprintln(w, "line 2")
}

// untilEnd answers with a body that only the end of the connection ends, as servers of HTTP/1.0 do.
func untilEnd(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"+strings.Repeat("until the end\n", 10_000))
}
