package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// testTag is a tag's text and the body that follows from it.
func testTag() (string, *body) {
	t := tag{1, 2, 3}
	b := newBody(t)
	return string(t.appendTo(nil)), &b
}

func httpBackend(t *testing.T) string {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return "http" + strings.TrimPrefix(newTestBackend(t), "ws")
}

func TestBackendServesBodies(t *testing.T) {
	url := httpBackend(t)
	text, b := testTag()
	for _, path := range []string{"/get", "/download", "/below/a/prefix/download"} {
		for _, size := range []int64{0, 1, tagSize, 128, firstPiece, firstPiece + 1, 3 << 20} {
			resp, err := http.Get(fmt.Sprintf("%s%s?size=%d&tag=%s", url, path, size, text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || resp.ContentLength != size || int64(len(got)) != size || b.agrees(got, 0) != len(got) {
				t.Errorf("%s of %d: status %d, Content-Length %d, %d bytes, %d of them right, %v", path, size, resp.StatusCode, resp.ContentLength, len(got), b.agrees(got, 0), err)
			}
		}
	}
}

func TestBackendReportsWhatWasUploaded(t *testing.T) {
	url := httpBackend(t)
	text, _ := testTag()
	upload := bodyOf(tag{1, 2, 3}, 1<<20)
	wrong := append([]byte(nil), upload...)
	wrong[700_000] ^= 1
	for _, tt := range []struct {
		name, want string
		body       []byte
	}{
		{"right", "received 1048576 right 1048576", upload},
		{"a byte changed", "received 1048576 right 700000", wrong},
		{"short", "received 1000 right 1000", upload[:1000]},
	} {
		resp, err := http.Post(url+"/upload?tag="+text, "application/octet-stream", strings.NewReader(string(tt.body)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := text + " " + tt.want + "\n"; err != nil || resp.StatusCode != 200 || string(got) != want {
			t.Errorf("%s: status %d, %q, %v, want %q", tt.name, resp.StatusCode, got, err, want)
		}
	}
}

func TestBackendWritesEvents(t *testing.T) {
	text, b := testTag()
	const interval = 5 * time.Millisecond
	asked := monotonic()
	resp, err := http.Get(fmt.Sprintf("%s/events?size=200&interval=%v&tag=%s", httpBackend(t), interval, text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		t.Errorf("status %d, Content-Type %q", resp.StatusCode, kind)
	}
	r := eventReader{size: 200}
	r.begin(tag{1, 2, 3})
	event := make([]byte, 200)
	for i := range 5 {
		if _, err := io.ReadFull(resp.Body, event); err != nil {
			t.Fatal(err)
		}
		now := monotonic()
		r.next(event, now)
		if r.fault.kind != "" || r.wrote < asked || r.wrote > now {
			t.Errorf("event %d, written at %d, read between %d and %d: fault %+v", i, r.wrote, asked, now, r.fault)
		}
		if i == 4 && r.wrote-asked < int64(4*interval) {
			t.Errorf("event 4 was written %v after the request, want %v at least", time.Duration(r.wrote-asked), 4*interval)
		}
	}
	if string(event[6:38]) != string(b.head[:]) {
		t.Errorf("event %q, want tag %s in it", event, b.head)
	}
}

func TestBackendRefusesWhatItDoesNotKnow(t *testing.T) {
	text, _ := testTag()
	address := strings.TrimPrefix(newTestBackend(t), "ws://")
	for _, line := range []string{
		"POST /get?size=1&tag=" + text, "GET /get?size=x&tag=" + text, "GET /get?size=-1&tag=" + text, "GET /get?size=1&tag=1",
		"GET /get", "GET /upload?tag=" + text, "POST /upload?tag=" + text, "POST /echo",
		"GET /events?size=100&interval=0s&tag=" + text, "GET /events?size=1&interval=1s&tag=" + text,
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\n\r\n", line)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%s: %+v, %v, want 400 and the end", line, resp, err)
		}
		c.Close()
	}
}
